#include "word_cache.h"

namespace nibble::text {
namespace {
constexpr size_t kMaxWordBytes = 128;
constexpr size_t kMaxWordsPerShard = 2048;
}  // namespace

bool WordCache::find(std::string_view word, std::vector<BpeToken>& tokens) {
  if (word.size() > kMaxWordBytes) {
    return false;
  }
  Shard& shard = shard_of(word);
  const std::unique_lock lock(shard.mutex, std::try_to_lock);
  if (!lock) {
    return false;
  }
  const auto found = shard.words.find(word);
  if (found == shard.words.end()) {
    return false;
  }
  tokens.insert(tokens.end(), found->second.begin(), found->second.end());
  return true;
}

void WordCache::insert(std::string_view word, std::span<const BpeToken> tokens) {
  if (word.size() > kMaxWordBytes) {
    return;
  }
  Shard& shard = shard_of(word);
  const std::unique_lock lock(shard.mutex, std::try_to_lock);
  if (!lock) {
    return;
  }
  if (shard.words.size() >= kMaxWordsPerShard) {
    shard.words.clear();
  }
  shard.words.try_emplace(std::string(word), tokens.begin(), tokens.end());
}

}  // namespace nibble::text
