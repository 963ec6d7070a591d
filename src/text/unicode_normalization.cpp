#include "unicode_normalization.h"

#include <nibble/core/error.h>

#include <utf8proc.h>

#include <algorithm>
#include <string>
#include <vector>

#include "code_points.h"
#include "utf8.h"

namespace nibble::text {
namespace {

constexpr char32_t kFirstCombining = 0x300;

/// True when `code` neither composes with nor is reordered before what stands in front of it, so
/// that the text can be normalized in two parts there. May be false where that would hold too.
bool starts_run(char32_t code) {
  if (code < kFirstCombining || is_unknown_to_normalizers(code)) {
    return true;
  }
  constexpr utf8proc_uint16_t kNone = UINT16_MAX;
  const utf8proc_property_t* const property =
      utf8proc_get_property(static_cast<utf8proc_int32_t>(code));
  const bool is_conjoining_jamo = code >= 0x1160 && code <= 0x11FF;
  return property->combining_class == 0 && property->comb_index == kNone &&
         property->decomp_seqindex == kNone && !is_conjoining_jamo;
}

utf8proc_option_t options_of(NormalizationForm form) {
  int options = UTF8PROC_STABLE;
  const bool composes = form == NormalizationForm::kNfc || form == NormalizationForm::kNfkc;
  options |= composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalizationForm::kNfkc || form == NormalizationForm::kNfkd) {
    options |= UTF8PROC_COMPAT;
  }
  return static_cast<utf8proc_option_t>(options);
}

using CodePoints = std::vector<utf8proc_int32_t>;

/// utf8proc orders marks by insertion, which is quadratic in a long run of them; this is not.
void order_marks(CodePoints& codes) {
  const auto mark_class = [](utf8proc_int32_t code) {
    return utf8proc_get_property(code)->combining_class;
  };
  const auto is_mark = [&](utf8proc_int32_t code) { return mark_class(code) != 0; };
  for (auto begin = codes.begin(); begin != codes.end();) {
    begin = std::find_if(begin, codes.end(), is_mark);
    const auto end = std::find_if_not(begin, codes.end(), is_mark);
    std::stable_sort(begin, end, [&](auto a, auto b) { return mark_class(a) < mark_class(b); });
    begin = end;
  }
}

std::string normalized(std::string_view run, utf8proc_option_t options) {
  constexpr utf8proc_ssize_t kMaxDecomposition = 18;
  CodePoints codes;
  for (size_t pos = 0; pos < run.size();) {
    const auto code = static_cast<utf8proc_int32_t>(next_code_point(run, pos));
    const size_t size = codes.size();
    codes.resize(size + kMaxDecomposition);
    const auto count =
        utf8proc_decompose_char(code, codes.data() + size, kMaxDecomposition, options, nullptr);
    NIBBLE_CHECK(count >= 0 && count <= kMaxDecomposition,
                 "Unicode normalization fails: ", utf8proc_errmsg(count));
    codes.resize(size + static_cast<size_t>(count));
  }
  order_marks(codes);
  const auto length =
      utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), options);
  NIBBLE_CHECK(length >= 0, "Unicode normalization fails: ", utf8proc_errmsg(length));
  std::string text;
  for (utf8proc_ssize_t i = 0; i < length; ++i) {
    append_code_point(text, static_cast<char32_t>(codes[static_cast<size_t>(i)]));
  }
  return text;
}

/// The end of the run of characters that must be normalized together and begins at `begin`.
size_t end_of_run(std::string_view text, size_t begin) {
  size_t end = begin;
  bool is_closed = is_unknown_to_normalizers(next_code_point(text, end));
  for (size_t next = end; next < text.size() && !is_closed;) {
    const char32_t code = next_code_point(text, next);
    is_closed = starts_run(code);
    end = is_closed ? end : next;
  }
  return end;
}

/// Bytes of the characters that two different texts both begin with; never all of `b`.
size_t common_prefix(std::string_view a, std::string_view b) {
  size_t length = 0;
  while (length < a.size() && length < b.size() && a[length] == b[length]) {
    ++length;
  }
  const auto is_inside = [&](std::string_view text) {
    return length == text.size() || is_continuation(text[length]);
  };
  while (length > 0 && (is_inside(a) || is_inside(b))) {
    --length;
  }
  return length;
}

}  // namespace

void normalize_unicode(AlignedText& text, NormalizationForm form) {
  const std::string_view source = text.text();
  const utf8proc_option_t options = options_of(form);
  AlignedText result;
  const auto is_ascii = [&](size_t pos) {
    return pos >= source.size() || static_cast<unsigned char>(source[pos]) < 0x80;
  };
  size_t kept = 0;  // everything before is in `result`
  for (size_t begin = 0; begin < source.size();) {
    if (is_ascii(begin) && is_ascii(begin + 1)) {
      ++begin;
      continue;
    }
    const size_t end = end_of_run(source, begin);
    const std::string_view run = source.substr(begin, end - begin);
    begin = end;
    size_t first_end = 0;
    if (run.size() == 1 || is_unknown_to_normalizers(next_code_point(run, first_end))) {
      continue;
    }
    const std::string changed = normalized(run, options);
    if (changed != run) {
      const size_t common = common_prefix(changed, run);
      const size_t first = end - run.size() + common;
      result.append(text, kept, first);
      result.append(std::string_view(changed).substr(common), text.origin(first, end));
      kept = end;
    }
  }
  if (kept != 0) {
    result.append(text, kept, source.size());
    text = std::move(result);
  }
}

}  // namespace nibble::text
