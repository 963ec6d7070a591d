#pragma once

#include <string>
#include <vector>

#include "gguf_builder.h"

namespace nibble::io::testing {

/// A llama model of one layer, hidden size 8, two heads of 4 and one key-value head, with the
/// vocabulary <s>, </s>, a, b, ab. attn_q holds the row number in each of its rows.
inline GgufBuilder tiny_llama(const std::string& pre = "smollm") {
  GgufBuilder file;
  file.string("general.architecture", "llama").string("tokenizer.ggml.model", "gpt2");
  file.string("tokenizer.ggml.pre", pre);
  file.uint32("llama.block_count", 1).uint32("llama.context_length", 16);
  file.uint32("llama.embedding_length", 8).uint32("llama.feed_forward_length", 32);
  file.uint32("llama.attention.head_count", 2).uint32("llama.attention.head_count_kv", 1);
  file.float32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.strings("tokenizer.ggml.tokens", {"<s>", "</s>", "a", "b", "ab"});
  file.int32s("tokenizer.ggml.token_type", {3, 3, 1, 1, 1});
  file.strings("tokenizer.ggml.merges", {"a b"});
  file.uint32("tokenizer.ggml.bos_token_id", 0).uint32("tokenizer.ggml.eos_token_id", 1);

  std::vector<float> rows;
  for (int i = 0; i < 64; ++i) rows.push_back(static_cast<float>(i / 8));
  constexpr uint32_t kF32 = 0, kQ4_0 = 2;
  file.tensor("blk.0.attn_q.weight", {8, 8}, kF32, bytes_of(rows));
  file.tensor("blk.0.ffn_down.weight", {32, 1}, kQ4_0, std::string(18, '\x11'));
  file.tensor("output_norm.weight", {8}, kF32, bytes_of(std::vector<float>(8, 1.0f)));
  return file;
}

}  // namespace nibble::io::testing
