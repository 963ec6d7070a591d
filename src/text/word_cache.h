#pragma once

#include <array>
#include <cstdint>
#include <functional>
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

/// Remembers the tokens of recent words. Bounded; safe to use from several threads, which do not
/// wait for each other: a word that another thread looks at may be not found, or not remembered.
class WordCache {
 public:
  /// Appends the word's tokens if it is remembered, and tells whether it is.
  bool find(std::string_view word, std::vector<BpeToken>& tokens);
  void insert(std::string_view word, std::span<const BpeToken> tokens);

 private:
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<BpeToken>, StringHash, std::equal_to<>> words;
  };

  Shard& shard_of(std::string_view word) { return shards_[StringHash()(word) % shards_.size()]; }

  std::array<Shard, 16> shards_;
};

}  // namespace nibble::text
