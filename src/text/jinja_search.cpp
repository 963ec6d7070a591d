#include "jinja_search.h"

#include <cstdint>
#include <vector>

namespace nibble::text::jinja {
namespace {

constexpr size_t kNowhere = std::string_view::npos;
/// Up to here the standard library is fast, and its worst case bounded.
constexpr size_t kShort = 32;

/// Knuth, Morris and Pratt: the index in `text` at which `wanted` first begins.
template <class Iterator>
size_t find_linear(Iterator text, size_t text_size, Iterator wanted, size_t wanted_size) {
  // The length of the longest proper prefix that also ends at each place of `wanted`.
  std::vector<uint32_t> border(wanted_size, 0);
  const auto extend = [&](size_t matched, char next) {
    while (matched > 0 && wanted[matched] != next) matched = border[matched - 1];
    return matched + (wanted[matched] == next ? 1 : 0);
  };
  for (size_t i = 1; i < wanted_size; ++i) {
    border[i] = static_cast<uint32_t>(extend(border[i - 1], wanted[i]));
  }
  size_t matched = 0;
  for (size_t i = 0; i < text_size; ++i) {
    matched = extend(matched, text[i]);
    if (matched == wanted_size) return i + 1 - wanted_size;
  }
  return kNowhere;
}

}  // namespace

size_t find_text(std::string_view text, std::string_view wanted, size_t from) {
  if (wanted.size() <= kShort) return text.find(wanted, from);
  if (from > text.size() || text.size() - from < wanted.size()) return kNowhere;
  text.remove_prefix(from);
  const size_t found = find_linear(text.begin(), text.size(), wanted.begin(), wanted.size());
  return found == kNowhere ? kNowhere : from + found;
}

size_t rfind_text(std::string_view text, std::string_view wanted) {
  if (wanted.size() <= kShort) return text.rfind(wanted);
  if (text.size() < wanted.size()) return kNowhere;
  const size_t found = find_linear(text.rbegin(), text.size(), wanted.rbegin(), wanted.size());
  return found == kNowhere ? kNowhere : text.size() - found - wanted.size();
}

}  // namespace nibble::text::jinja
