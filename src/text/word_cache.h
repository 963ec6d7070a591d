#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nibble::text {

/// A token of a piece and the bytes of the piece it covers.
struct BpeToken {
  uint32_t id = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

/// Hash for maps from strings that are searched by string_view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

/// Remembers the tokens of recent words. Bounded; for one thread at a time.
class WordCache {
 public:
  /// Appends the word's tokens if it is remembered, and tells whether it is.
  bool find(std::string_view word, std::vector<BpeToken>& tokens) const;
  void insert(std::string_view word, std::span<const BpeToken> tokens);

 private:
  std::unordered_map<std::string, std::vector<BpeToken>, StringHash, std::equal_to<>> words_;
};

/// The caches of the threads that encode, one each: a lock at every word of a common one moves
/// between the processors and takes back what the second of them gains.
class WordCachePool {
 public:
  struct GiveBack {
    WordCachePool* pool;
    void operator()(WordCache* cache) const { pool->give_back(cache); }
  };
  using Lease = std::unique_ptr<WordCache, GiveBack>;

  /// The cache that was given back last, or a new one. Thread-safe; must not outlive the pool.
  Lease take();

 private:
  void give_back(WordCache* cache);

  std::mutex mutex_;
  std::vector<std::unique_ptr<WordCache>> caches_;
  std::vector<WordCache*> idle_;
};

}  // namespace nibble::text
