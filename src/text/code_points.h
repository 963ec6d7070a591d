#pragma once

#include <string_view>
#include <vector>

namespace nibble::text {

/// A set of Unicode code points as sorted, disjoint, inclusive ranges.
class CodePointSet {
 public:
  struct Range {
    char32_t first;
    char32_t last;
  };

  CodePointSet() = default;
  CodePointSet(std::initializer_list<Range> ranges);

  void insert(char32_t first, char32_t last);
  void insert(const CodePointSet& other);
  CodePointSet complement() const;
  CodePointSet intersection(const CodePointSet& other) const;
  bool contains(char32_t code) const;
  const std::vector<Range>& ranges() const { return ranges_; }

  /// The code points whose general category starts with `prefix` ("L", "Nd", ...) in Unicode 16,
  /// "Cn" included; the empty set for an unknown name.
  static CodePointSet category(std::string_view prefix);
  /// Oniguruma's \s, which is Unicode's White_Space, Rust's char::is_whitespace too.
  static const CodePointSet& white_space();
  /// Letters, marks, decimal and letter numbers, connectors and circled letters.
  static const CodePointSet& word();

 private:
  std::vector<Range> ranges_;
};

/// Rust's char::is_numeric: the categories Nd, Nl and No of Unicode 17.
bool is_numeric(char32_t code);
/// Unicode's White_Space.
bool is_white_space(char32_t code);
/// \w of Rust's regex crate: word() and the two joiners.
bool is_word(char32_t code);
/// ASCII punctuation (symbols included) or a general category P* in Unicode 8, as the reference.
bool is_punctuation(char32_t code);
/// General categories M* in Unicode 9, as StripAccents of the reference.
bool is_mark(char32_t code);
/// Not assigned in Unicode 9, the version of the reference's normalizers.
bool is_unknown_to_normalizers(char32_t code);

}  // namespace nibble::text
