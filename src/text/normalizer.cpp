#include "normalizer.h"

#include <utf8proc.h>

#include "byte_level.h"
#include "code_points.h"
#include "pattern.h"
#include "unicode_normalization.h"
#include "utf8.h"

namespace nibble::text {
namespace {

constexpr int kMaxDepth = 32;

/// Calls `visit(code, begin, end)` for each character.
template <class Visit>
void for_each_character(std::string_view text, Visit visit) {
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t code = next_code_point(text, pos);
    visit(code, begin, pos);
  }
}

void remove_characters(AlignedText& text, bool (*removes)(char32_t)) {
  AlignedText result;
  for_each_character(text.text(), [&](char32_t code, size_t begin, size_t end) {
    if (!removes(code)) {
      result.append(text, begin, end);
    }
  });
  text = std::move(result);
}

/// Rust's char::to_lowercase: simple mappings, and U+0130 becomes "i" with a dot above.
void lowercase(AlignedText& text) {
  AlignedText result;
  for_each_character(text.text(), [&](char32_t code, size_t begin, size_t end) {
    std::string lower;
    append_code_point(lower,
                      static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
    if (code == 0x130) {
      lower = "i\xCC\x87";
    }
    result.append(lower, text.origin(begin, end));
  });
  text = std::move(result);
}

bool is_nmt_removed(char32_t code) {
  return (code >= 0x01 && code <= 0x08) || code == 0x0B || (code >= 0x0E && code <= 0x1F) ||
         code == 0x7F || code == 0x8F || code == 0x9F;
}

bool is_nmt_space(char32_t code) {
  return code == 0x09 || code == 0x0A || code == 0x0C || code == 0x0D || code == 0x1680 ||
         (code >= 0x200B && code <= 0x200F) || code == 0x2028 || code == 0x2029 || code == 0x2581 ||
         code == 0xFEFF || code == 0xFFFD;
}

void normalize_nmt(AlignedText& text) {
  remove_characters(text, is_nmt_removed);
  replace_matches(text, character_pattern(is_nmt_space)(text.text()), " ");
}

void strip(AlignedText& text, bool left, bool right) {
  size_t begin = text.text().size();
  size_t end = 0;
  for_each_character(text.text(), [&](char32_t code, size_t from, size_t to) {
    if (!is_white_space(code)) {
      begin = std::min(begin, from);
      end = to;
    }
  });
  begin = left ? begin : 0;
  end = right ? end : text.text().size();
  text = begin < end ? text.slice(begin, end) : AlignedText();
}

Normalizer read_sequence(const JsonNode& node, int depth) {
  std::vector<Normalizer> steps;
  for (const JsonNode& step : node.at("normalizers").elements()) {
    steps.push_back(read_normalizer(step, depth + 1));
  }
  return [steps = std::move(steps)](AlignedText& text) {
    for (const Normalizer& step : steps) {
      step(text);
    }
  };
}

Normalizer read_replace(const JsonNode& node) {
  return [pattern = read_pattern(node.at("pattern")), content = node.at("content").string()](
             AlignedText& text) { replace_matches(text, pattern(text.text()), content); };
}

Normalizer normalization_form(NormalizationForm form) {
  return [form](AlignedText& text) { normalize_unicode(text, form); };
}

}  // namespace

void replace_matches(AlignedText& text, const std::vector<Range>& matches,
                     std::string_view content) {
  if (matches.empty()) {
    return;
  }
  AlignedText result;
  result.reserve(text.text().size());
  size_t kept = 0;
  for (const auto& [begin, end] : matches) {
    result.append(text, kept, begin);
    // What replaces nothing shares the origin of the character before.
    const ByteSpan origin = begin < end ? text.origin(begin, end)
                            : begin > 0 ? text.origin(begin - 1, begin)
                                        : ByteSpan{};
    result.append(content, origin);
    kept = end;
  }
  result.append(text, kept, text.text().size());
  text = std::move(result);
}

void prepend(AlignedText& text, std::string_view prefix) {
  AlignedText result;
  result.reserve(prefix.size() + text.text().size());
  result.append(prefix, text.origin(0, 1));
  result.append(text, 0, text.text().size());
  text = std::move(result);
}

Normalizer read_normalizer(const JsonNode& node, int depth) {
  if (depth > kMaxDepth) {
    node.fail("normalizers are nested more than ", kMaxDepth, " deep");
  }
  const std::string type = node.type();
  if (type == "Sequence") {
    return read_sequence(node, depth);
  }
  if (type == "NFC") {
    return normalization_form(NormalizationForm::kNfc);
  }
  if (type == "NFD") {
    return normalization_form(NormalizationForm::kNfd);
  }
  if (type == "NFKC") {
    return normalization_form(NormalizationForm::kNfkc);
  }
  if (type == "NFKD") {
    return normalization_form(NormalizationForm::kNfkd);
  }
  if (type == "Lowercase") {
    return lowercase;
  }
  if (type == "Replace") {
    return read_replace(node);
  }
  if (type == "Prepend") {
    return [prefix = node.at("prepend").string()](AlignedText& text) {
      if (!text.empty()) {
        prepend(text, prefix);
      }
    };
  }
  if (type == "Strip") {
    return [left = node.at("strip_left").boolean(), right = node.at("strip_right").boolean()](
               AlignedText& text) { strip(text, left, right); };
  }
  if (type == "StripAccents") {
    return [](AlignedText& text) { remove_characters(text, is_mark); };
  }
  if (type == "Nmt") {
    return normalize_nmt;
  }
  if (type == "ByteLevel") {
    return [](AlignedText& text) { text = to_byte_alphabet(text); };
  }
  node.fail("the normalizer \"", type,
            "\" is not supported; supported are Sequence, NFC, NFD, NFKC, NFKD, Lowercase, "
            "Replace, Prepend, Strip, StripAccents, Nmt, ByteLevel");
}

}  // namespace nibble::text
