#include <nibble/core/error.h>
#include <nibble/text/assistant_mask.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "utf8.h"

namespace nibble::text {
namespace {

/// The first token that covers any byte of the character at `byte`.
std::optional<size_t> token_of_character(std::string_view text, const Encoding& encoding,
                                         size_t byte) {
  if (byte >= text.size()) {
    return std::nullopt;
  }
  const size_t end = byte + char_length(text[byte]);
  const auto found =
      std::find_if(encoding.spans.begin(), encoding.spans.end(), [&](const ByteSpan& span) {
        return span.begin < span.end && span.begin < end && byte < span.end;
      });
  if (found == encoding.spans.end()) {
    return std::nullopt;
  }
  return static_cast<size_t>(found - encoding.spans.begin());
}

/// The first byte of the character in front of `end`.
size_t previous_character(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && is_continuation(text[at])) {
    --at;
  }
  return at;
}

}  // namespace

std::vector<bool> assistant_mask(const RenderedChat& chat, const Encoding& encoding) {
  NIBBLE_CHECK(encoding.spans.size() == encoding.ids.size(),
               "assistant mask: ", encoding.ids.size(), " tokens with ", encoding.spans.size(),
               " spans");
  std::vector<bool> mask(encoding.ids.size(), false);
  for (const ByteSpan& span : chat.generation_spans) {
    NIBBLE_CHECK(span.begin <= span.end && span.end <= chat.text.size(),
                 "assistant mask: the span [", span.begin, ", ", span.end, ") is not part of ",
                 chat.text.size(), " bytes of text");
    if (span.end == 0) {
      continue;
    }
    const auto first = token_of_character(chat.text, encoding, span.begin);
    if (!first) {
      break;
    }
    const auto last =
        token_of_character(chat.text, encoding, previous_character(chat.text, span.end));
    const size_t end = last.value_or(0) != 0 ? *last + 1 : mask.size();
    for (size_t token = *first; token < end; ++token) {
      mask[token] = true;
    }
  }
  return mask;
}

}  // namespace nibble::text
