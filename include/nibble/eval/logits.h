#pragma once

#include <nibble/models/causal_lm.h>

#include <cstdint>
#include <filesystem>
#include <span>

namespace nibble::eval {

/// Writes a safetensors file with `logits` [T, vocab_size] float32 and `tokens` [T] int64 of one
/// forward without padding. Throws Error for no ids or an id outside the vocabulary.
void write_logits(models::CausalLMImpl& model, std::span<const int64_t> ids,
                  const std::filesystem::path& path);

}  // namespace nibble::eval
