#include <nibble/text/stream_decoder.h>

#include <algorithm>
#include <span>

#include "utf8.h"

namespace nibble::text {
namespace {

/// `text` without the U+FFFD at its end: bytes of a character that may still be completed.
std::string_view settled_part(std::string_view text) {
  while (text.ends_with(kReplacementCharacter)) text.remove_suffix(kReplacementCharacter.size());
  return text;
}

}  // namespace

std::string StreamDecoder::window_text() const {
  return tokenizer_.decode(window_, /*skip_special_tokens=*/true);
}

std::string StreamDecoder::push(int64_t token) {
  window_.push_back(token);
  const std::string text = window_text();
  const size_t settled = settled_part(text).size();
  if (settled <= given_) return {};
  std::string piece = text.substr(given_, settled - given_);
  given_ = settled;
  if (settled == text.size()) shorten_window();
  return piece;
}

std::string StreamDecoder::finish() {
  const std::string text = window_text();
  std::string piece = text.substr(std::min(given_, text.size()));
  window_.clear();
  given_ = 0;
  return piece;
}

/// The fewest last tokens that are whole characters for themselves. They must be some text: the
/// decoders of SentencePiece models treat the first token that is not special in another way.
void StreamDecoder::shorten_window() {
  constexpr size_t kMostBytesOfACharacter = 4;
  for (size_t kept = 1; kept <= std::min(kMostBytesOfACharacter, window_.size() - 1); ++kept) {
    const std::string text = tokenizer_.decode(std::span(window_).last(kept), true);
    if (text.empty() || text.find(kReplacementCharacter) != std::string::npos) continue;
    window_.erase(window_.begin(), window_.end() - static_cast<std::ptrdiff_t>(kept));
    given_ = text.size();
    return;
  }
}

}  // namespace nibble::text
