#pragma once

#include <nibble/text/tokenizer.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

/// Well-formed UTF-8 that remembers, through every rewriting, which bytes of the input each of its
/// bytes came from.
class AlignedText {
 public:
  AlignedText() = default;
  /// The whole input; ill-formed parts become U+FFFD.
  explicit AlignedText(std::string_view input);

  std::string_view text() const { return text_; }
  bool empty() const { return text_.empty(); }
  /// The bytes of the input that text()[begin, end) came from, begin < end; whole characters.
  ByteSpan origin(size_t begin, size_t end) const;
  AlignedText slice(size_t begin, size_t end) const;

  /// Appends text()[begin, end) of `source` with its origins.
  void append(const AlignedText& source, size_t begin, size_t end);
  /// Appends `text`, all of which came from `origin`.
  void append(std::string_view text, ByteSpan origin);
  void reserve(size_t bytes);

 private:
  struct Origin {
    uint32_t begin;
    uint32_t end;
  };

  std::string text_;
  /// One for each byte, or empty while text()[i] is byte base_ + i of the input.
  std::vector<Origin> origins_;
  size_t base_ = 0;
};

}  // namespace nibble::text
