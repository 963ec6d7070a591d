"""Random models of the shapes that exports have to survive, as Hugging Face directories."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config,
                          Qwen2ForCausalLM)

BASE = dict(vocab_size=300, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
            initializer_range=0.06, bos_token_id=1, eos_token_id=2)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=64)
CASES = {
    "llama": (LlamaForCausalLM, LlamaConfig(**BASE, tie_word_embeddings=False)),
    "llama_tied_rope3": (LlamaForCausalLM, LlamaConfig(**BASE, tie_word_embeddings=True,
                                                       rope_parameters=LLAMA3)),
    "llama_bias": (LlamaForCausalLM, LlamaConfig(**BASE, tie_word_embeddings=False,
                                                 attention_bias=True)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**BASE, tie_word_embeddings=False)),
    "qwen2_tied": (Qwen2ForCausalLM, Qwen2Config(**BASE, tie_word_embeddings=True)),
}
TEXTS = ["the quick brown fox jumps over the lazy dog and the other things in the house"] * 3


def tokenizer():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tok.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>",
                                   unk_token="<unk>")


def write(name, folder, max_shard_size="50GB"):
    """Float32; norms and biases differ from 1 and 0."""
    model_class, config = CASES[name]
    torch.manual_seed(sum(map(ord, name)))
    model = model_class(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer().save_pretrained(folder)
