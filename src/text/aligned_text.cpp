#include "aligned_text.h"

#include <nibble/core/error.h>

#include "utf8.h"

namespace nibble::text {

AlignedText::AlignedText(std::string_view input) {
  constexpr size_t kMaxBytes = size_t{1} << 30;  // rewriting may grow it, offsets have 32 bits
  NIBBLE_CHECK(input.size() <= kMaxBytes, "a text to tokenize has ", input.size(),
               " bytes; at most ", kMaxBytes, " are allowed");
  if (is_well_formed(input)) {
    text_ = input;
    return;
  }
  reserve(input.size());
  for (size_t pos = 0; pos < input.size();) {
    bool valid = false;
    const size_t length = sequence_length(input.substr(pos), valid);
    append(valid ? input.substr(pos, length) : kReplacementCharacter, {pos, pos + length});
    pos += length;
  }
}

ByteSpan AlignedText::origin(size_t begin, size_t end) const {
  if (!origins_.empty()) {
    return {origins_[begin].begin, origins_[end - 1].end};
  }
  while (is_continuation(text_[begin])) {
    --begin;
  }
  while (end < text_.size() && is_continuation(text_[end])) {
    ++end;
  }
  return {base_ + begin, base_ + end};
}

AlignedText AlignedText::slice(size_t begin, size_t end) const {
  AlignedText part;
  part.text_ = text_.substr(begin, end - begin);
  if (!origins_.empty()) {
    part.origins_.assign(origins_.begin() + static_cast<std::ptrdiff_t>(begin),
                         origins_.begin() + static_cast<std::ptrdiff_t>(end));
  }
  part.base_ = base_ + begin;
  return part;
}

void AlignedText::append(const AlignedText& source, size_t begin, size_t end) {
  for (size_t pos = begin; pos < end;) {
    const size_t length = char_length(source.text_[pos]);
    const ByteSpan origin = source.origin(pos, pos + length);
    origins_.insert(origins_.end(), length,
                    {static_cast<uint32_t>(origin.begin), static_cast<uint32_t>(origin.end)});
    pos += length;
  }
  text_.append(source.text_, begin, end - begin);
}

void AlignedText::append(std::string_view text, ByteSpan origin) {
  text_ += text;
  origins_.insert(origins_.end(), text.size(),
                  {static_cast<uint32_t>(origin.begin), static_cast<uint32_t>(origin.end)});
}

void AlignedText::reserve(size_t bytes) {
  text_.reserve(bytes);
  origins_.reserve(bytes);
}

}  // namespace nibble::text
