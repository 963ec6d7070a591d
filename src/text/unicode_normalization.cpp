#include "unicode_normalization.h"

#include <nibble/core/error.h>

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "utf8.h"

namespace nibble::text {
namespace {

constexpr char32_t kFirstCombining = 0x300;

/// True when `code` neither composes with nor is reordered before what stands in front of it, so
/// that the text can be normalized in two parts there. May be false where that would hold too.
bool starts_run(char32_t code) {
  if (code < kFirstCombining) {
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

std::string normalized(std::string_view run, utf8proc_option_t options) {
  utf8proc_uint8_t* raw = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(run.data()),
                                   static_cast<utf8proc_ssize_t>(run.size()), &raw, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(raw, &std::free);
  NIBBLE_CHECK(length >= 0, "Unicode normalization fails: ", utf8proc_errmsg(length));
  return {reinterpret_cast<const char*>(raw), static_cast<size_t>(length)};
}

}  // namespace

void normalize_unicode(AlignedText& text, NormalizationForm form) {
  const std::string_view source = text.text();
  const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
  if (std::all_of(source.begin(), source.end(), is_ascii)) {
    return;
  }
  const utf8proc_option_t options = options_of(form);
  AlignedText result;
  size_t kept = 0;  // everything before is in `result`
  for (size_t begin = 0; begin < source.size();) {
    size_t end = begin;
    next_code_point(source, end);
    const bool is_single_ascii = end == begin + 1;
    for (size_t next = end; next < source.size(); end = next) {
      if (starts_run(next_code_point(source, next))) {
        break;
      }
    }
    const std::string_view run = source.substr(begin, end - begin);
    if (run.size() > 1 || !is_single_ascii) {
      const std::string changed = normalized(run, options);
      if (changed != run) {
        result.append(text, kept, begin);
        result.append(changed, text.origin(begin, end));
        kept = end;
      }
    }
    begin = end;
  }
  if (kept != 0) {
    result.append(text, kept, source.size());
    text = std::move(result);
  }
}

}  // namespace nibble::text
