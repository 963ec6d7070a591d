#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bpe.h"
#include "json_node.h"
#include "normalizer.h"
#include "regex.h"

namespace nibble::text {

/// A token that is found in the text before anything else looks at it.
struct AddedToken {
  std::string content;
  bool single_word = false;  ///< not inside a longer word
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = true;    ///< is looked for in the normalized text, in normalized form
  bool special = false;
};

/// A stretch of text: an added token, or what lies between two.
struct AddedTokenPart {
  Range range;
  std::optional<uint32_t> id;
};

/// Finds strings; of those that begin leftmost, the longest.
class StringMatcher {
 public:
  struct Match {
    Range range;
    uint32_t id = 0;
  };

  /// Throws Error when `text` is empty or was added before.
  void add(std::string_view text, uint32_t id, const JsonNode& origin);
  /// The first match at or behind `start`.
  std::optional<Match> find(std::string_view text, size_t start) const;

 private:
  struct Node {
    char byte = 0;
    std::optional<uint32_t> id;
    uint32_t first_child = 0;  // 0: none, since the root is nobody's child
    uint32_t next_sibling = 0;
  };

  uint32_t child_of(uint32_t node, char byte) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<uint32_t, 256> first_{};  // the root's children by byte, 0: none
};

class AddedTokens {
 public:
  /// Reads "added_tokens". A token's id is the one the model has for it, else the next free one.
  /// Throws Error when the file gives it another id.
  AddedTokens(const JsonNode& node, const Bpe& model, const Normalizer& normalizer);

  /// The parts of `text`, raw or normalized, that cover it in order.
  std::vector<AddedTokenPart> find_raw(std::string_view text) const;
  std::vector<AddedTokenPart> find_normalized(std::string_view text) const;

  std::optional<uint32_t> id_of(std::string_view content) const;
  const AddedToken* token(uint32_t id) const;
  /// The token's text as the decoder gets it: the normalized form. Null for an unknown id.
  const std::string* decoded_form(uint32_t id) const;
  bool is_special(std::string_view content) const;
  /// Added tokens that the model does not have.
  size_t beyond_model() const { return beyond_model_; }

 private:
  struct Entry {
    AddedToken token;
    std::string normalized;  // the content itself for tokens that are not normalized
  };

  std::vector<AddedTokenPart> find(const StringMatcher& matcher, std::string_view text) const;

  std::unordered_map<uint32_t, Entry> entries_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::unordered_set<std::string> special_;
  StringMatcher raw_;
  StringMatcher normalized_;
  size_t beyond_model_ = 0;
};

}  // namespace nibble::text
