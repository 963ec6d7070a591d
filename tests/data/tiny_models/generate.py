"""Tiny random checkpoints, and what transformers computes with them.

usage: generate.py OUT_DIR [CASE ...]        (transformers 5.23.0, torch 2.11.0, CPU, float32)

Writes OUT_DIR/<case>/{config.json,model.safetensors,reference.safetensors}. reference.safetensors
holds `input_ids` [2, T], `labels` (pre-shifted, -100 where there is no target), `logits` [2, T, V],
`loss` (sum over targets / number of targets) and `grad.<parameter>` of that loss.
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, LlamaConfig,
                          MistralConfig, Phi3Config, Qwen2Config, Qwen3Config)

BASE = dict(vocab_size=97, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=3, max_position_embeddings=64,
            initializer_range=0.3, attn_implementation="eager")
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=16)
# 20 tokens: more than original_max_position_embeddings takes the long factors.
LONG_FACTORS = [1.1, 1.7, 2.9]
SHORT_FACTORS = [1.0, 1.05, 1.3]
GEMMA = BASE | dict(num_hidden_layers=3, head_dim=10, query_pre_attn_scalar=7, sliding_window=5)
CASES = {
    "llama_tied": LlamaConfig(**BASE, tie_word_embeddings=True),
    "llama3_rope_head_dim": LlamaConfig(**BASE | dict(head_dim=10, num_hidden_layers=1),
                                        rope_parameters=LLAMA3),
    "llama_bias_linear_rope": LlamaConfig(
        **BASE, attention_bias=True, mlp_bias=True, hidden_act="gelu",
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0)),
    "mistral_window": MistralConfig(**BASE, head_dim=4, sliding_window=5),
    "qwen2": Qwen2Config(**BASE, tie_word_embeddings=True),
    "qwen2_layer_windows": Qwen2Config(**BASE | dict(num_hidden_layers=3), use_sliding_window=True,
                                       sliding_window=4, max_window_layers=1),
    "qwen2_yarn": Qwen2Config(
        **BASE, use_sliding_window=True, sliding_window=8, max_window_layers=0,
        rope_parameters=dict(rope_type="yarn", rope_theta=500.0, factor=4.0,
                             original_max_position_embeddings=16)),
    "mistral_yarn": MistralConfig(
        **BASE | dict(num_hidden_layers=1), head_dim=16, sliding_window=None,
        rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, beta_fast=16.0,
                             beta_slow=0.5, mscale=0.7, mscale_all_dim=0.9, truncate=False,
                             original_max_position_embeddings=64)),
    "qwen3": Qwen3Config(**BASE, head_dim=8),
    "phi3_long": Phi3Config(
        **BASE | dict(hidden_size=36), pad_token_id=1, sliding_window=7,
        original_max_position_embeddings=16,
        rope_parameters=dict(rope_type="longrope", rope_theta=100.0, long_factor=LONG_FACTORS,
                             short_factor=SHORT_FACTORS)),
    "phi4_mini": Phi3Config(
        **BASE | dict(hidden_size=48), pad_token_id=1, tie_word_embeddings=True,
        original_max_position_embeddings=32,
        rope_parameters=dict(rope_type="longrope", rope_theta=100.0, partial_rotary_factor=0.75,
                             long_factor=LONG_FACTORS, short_factor=SHORT_FACTORS)),
    "gemma2": Gemma2Config(**GEMMA, attn_logit_softcapping=3.0, final_logit_softcapping=6.0),
    "gemma3": Gemma3TextConfig(
        **GEMMA, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                             sliding_attention=dict(rope_type="default", rope_theta=100.0))),
    "llama_vocab_32003": LlamaConfig(
        **BASE | dict(vocab_size=32003, hidden_size=9, intermediate_size=20, num_hidden_layers=1,
                      num_attention_heads=3), head_dim=6, tie_word_embeddings=True),
}
TOKENS = {"llama_vocab_32003": 5}  # in a row, else 20: its logits are large


def make(name, config, out):
    torch.manual_seed(sum(map(ord, name)))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter_name, parameter in model.named_parameters():
        if parameter.dim() == 1:  # norms and biases would be all ones and zeros
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    tokens = TOKENS.get(name, 20)
    ids = torch.randint(0, config.vocab_size, (2, tokens))
    labels = ids.roll(-1, 1)
    labels[0, :tokens * 7 // 20] = -100
    labels[1, :tokens * 3 // 20] = -100
    labels[:, -1] = -100
    logits = model(ids).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    tensors = {"input_ids": ids, "labels": labels, "logits": logits.detach(), "loss": loss.detach()}
    tensors |= {f"grad.{key}": value.grad for key, value in model.named_parameters()}
    save_file({key: value.contiguous() for key, value in tensors.items()},
              out / "reference.safetensors")
    print(name, float(loss), float(logits.abs().max()))


for case in sys.argv[2:] or CASES:
    make(case, CASES[case], pathlib.Path(sys.argv[1]) / case)
