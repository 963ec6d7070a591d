#pragma once

#include <nibble/models/causal_lm.h>
#include <nibble/models/kv_cache.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nibble::models {

/// A KV cache that outlives one generation, with the tokens that it holds: what the next prompt
/// has in common with them, from the beginning on, is not computed again. For chats, where each
/// prompt repeats the conversation. Belongs to one model.
class PrefixCache {
 public:
  /// The tokens whose keys and values are held.
  const std::vector<int64_t>& tokens() const { return tokens_; }
  int64_t bytes() const { return cache_ ? cache_->bytes() : 0; }
  /// Forgets everything and frees the memory.
  void clear();

  /// The cache of `model`, with room for `capacity` tokens, cut to the longest common beginning
  /// with `prompt` that leaves at least one token of it to compute.
  KVCache& begin(const CausalLMImpl& model, std::span<const int64_t> prompt, int64_t capacity);
  /// Says that the cache now holds the first KVCache::length() tokens of `text`.
  void end(std::span<const int64_t> text);

 private:
  std::optional<KVCache> cache_;
  std::vector<int64_t> tokens_;
};

}  // namespace nibble::models
