#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bpe_merge.h"
#include "json_node.h"
#include "merge_table.h"
#include "word_cache.h"

namespace nibble::text {

/// The byte-pair-encoding model: a vocabulary, and pairs of tokens to merge in order of rank.
class Bpe {
 public:
  /// Reads the "model" of a tokenizer.json. Throws Error for other models, random dropout, merges
  /// of tokens that are not in the vocabulary and ids that stand for two tokens.
  explicit Bpe(const JsonNode& node);

  /// Appends the tokens of `piece`. Characters that the vocabulary lacks become their bytes'
  /// tokens (byte_fallback), else the unknown token, else nothing. `cache`: of take_cache().
  void tokenize(std::string_view piece, WordCache& cache, std::vector<BpeToken>& tokens) const;

  /// Whether pieces may be given to tokenize_bytes. A model is used in one of the two ways only.
  bool takes_bytes() const { return takes_bytes_; }
  /// What tokenize() gives for `piece` spelled in the byte alphabet, with the bytes of `piece`.
  void tokenize_bytes(std::string_view piece, WordCache& cache,
                      std::vector<BpeToken>& tokens) const;

  /// Of this model's words, for the calling thread. Thread-safe.
  WordCachePool::Lease take_cache() const { return caches_.take(); }

  std::optional<uint32_t> token_to_id(std::string_view token) const;
  /// Null for an unknown id.
  const std::string* id_to_token(uint32_t id) const;
  size_t vocab_size() const { return ids_.size(); }

 private:
  void read_vocabulary(const JsonNode& node);
  void read_merges(const JsonNode& node);
  void add_merge(const JsonNode& node, std::string_view left, std::string_view right);
  void read_byte_tokens();
  void choose_shortcuts();

  void tokenize_word(std::string_view word, uint32_t offset, WordCache& cache,
                     std::vector<BpeToken>& tokens) const;
  std::vector<BpeSymbol> symbols_of(std::string_view piece) const;
  /// The character piece[begin, end) as the vocabulary has it.
  std::string with_affixes(std::string_view piece, size_t begin, size_t end) const;
  /// Appends the bytes' tokens of `character`, which stands for [begin, end) of the piece; false
  /// when one is missing.
  bool append_bytes(std::string_view character, uint32_t begin, uint32_t end,
                    std::vector<BpeSymbol>& symbols) const;
  /// Merges the symbols of `word`, appends what is left of them and remembers it.
  void finish_word(std::string_view word, std::vector<BpeSymbol> symbols, WordCache& cache,
                   std::vector<BpeToken>& tokens) const;

  std::unordered_map<std::string, uint32_t, StringHash, std::equal_to<>> ids_;
  std::unordered_map<uint32_t, const std::string*> tokens_;
  MergeTable merges_{0};
  uint32_t merge_count_ = 0;
  std::optional<uint32_t> unknown_;
  std::array<std::optional<uint32_t>, 256> byte_tokens_;    // <0x00> .. <0xFF>
  std::array<std::optional<uint32_t>, 256> byte_alphabet_;  // the bytes' characters
  std::string prefix_;                                      // of symbols that do not begin a piece
  std::string suffix_;                                      // of the symbol that ends a piece
  bool fuses_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignores_merges_ = false;
  bool takes_bytes_ = false;
  bool merges_before_marks_ = false;  // some merge joins a mark to what is no mark before it
  bool cuts_at_marks_ = false;        // no token spans the place before a run of marks
  mutable WordCachePool caches_;
};

}  // namespace nibble::text
