#include "word_cache.h"

namespace nibble::text {
namespace {
constexpr size_t kMaxWordBytes = 128;
constexpr size_t kMaxWords = 32768;
}  // namespace

bool WordCache::find(std::string_view word, std::vector<BpeToken>& tokens) const {
  if (word.size() > kMaxWordBytes) {
    return false;
  }
  const auto found = words_.find(word);
  if (found == words_.end()) {
    return false;
  }
  tokens.insert(tokens.end(), found->second.begin(), found->second.end());
  return true;
}

void WordCache::insert(std::string_view word, std::span<const BpeToken> tokens) {
  if (word.size() > kMaxWordBytes) {
    return;
  }
  if (words_.size() >= kMaxWords) {
    words_.clear();
  }
  words_.try_emplace(std::string(word), tokens.begin(), tokens.end());
}

WordCachePool::Lease WordCachePool::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    caches_.push_back(std::make_unique<WordCache>());
    idle_.reserve(caches_.size());  // so that giving back cannot fail
    return {caches_.back().get(), GiveBack{this}};
  }
  WordCache* const cache = idle_.back();
  idle_.pop_back();
  return {cache, GiveBack{this}};
}

void WordCachePool::give_back(WordCache* cache) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(cache);
}

}  // namespace nibble::text
