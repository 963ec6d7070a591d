#include <nibble/models/prefix_cache.h>
#include <nibble/models/rope.h>

#include <algorithm>

namespace nibble::models {
namespace {

/// Of the tokens `held` how many can stay for `prompt`: none where all have to be rotated anew.
size_t common_length(const ModelConfig& config, const std::vector<int64_t>& held,
                     std::span<const int64_t> prompt) {
  const auto rotation = [&](size_t tokens) {
    return rotation_of(config, static_cast<int64_t>(tokens));
  };
  if (rotation(held.size()) != rotation(prompt.size())) return 0;
  const size_t most = std::min(held.size(), prompt.size() - 1);
  const auto end = held.begin() + static_cast<std::ptrdiff_t>(most);
  return static_cast<size_t>(std::mismatch(held.begin(), end, prompt.begin()).first - held.begin());
}

}  // namespace

void PrefixCache::clear() {
  cache_.reset();
  tokens_.clear();
}

KVCache& PrefixCache::begin(const CausalLMImpl& model, std::span<const int64_t> prompt,
                            int64_t capacity) {
  if (cache_) {
    cache_->truncate(static_cast<int64_t>(common_length(model.config(), tokens_, prompt)));
    cache_->reserve(capacity);
  } else {
    cache_ = model.make_cache(1, capacity);
  }
  tokens_.clear();  // what a generation that throws leaves behind is not known
  return *cache_;
}

void PrefixCache::end(std::span<const int64_t> text) {
  tokens_.assign(text.begin(), text.begin() + cache_->length());
}

}  // namespace nibble::models
