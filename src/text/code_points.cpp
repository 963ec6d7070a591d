#include "code_points.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace nibble::text {
namespace {

enum Category : unsigned char {
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCs,
  kCo,
};
constexpr std::string_view kCategoryNames[] = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co",
};

struct CategoryRange {
  char32_t first;
  char32_t last;
  Category category;
};
constexpr CategoryRange kCategories[] = {
#include "unicode_categories.inc"
};

constexpr CodePointSet::Range kNumeric[] = {
#include "unicode_numeric.inc"
};

constexpr CodePointSet::Range kUnassigned[] = {
#include "unicode_unassigned.inc"
};

constexpr char32_t kLastCodePoint = 0x10FFFF;

template <class Ranges>
bool contains_code_point(const Ranges& ranges, char32_t code) {
  const auto after =
      std::upper_bound(std::begin(ranges), std::end(ranges), code,
                       [](char32_t c, const auto& range) { return c < range.first; });
  return after != std::begin(ranges) && code <= std::prev(after)->last;
}

}  // namespace

CodePointSet::CodePointSet(std::initializer_list<Range> ranges) {
  for (const Range& range : ranges) {
    insert(range.first, range.last);
  }
}

void CodePointSet::insert(char32_t first, char32_t last) {
  // The ranges that touch [first, last] are replaced by their union with it.
  auto begin = std::lower_bound(ranges_.begin(), ranges_.end(), first,
                                [](const Range& range, char32_t c) { return range.last + 1 < c; });
  auto end = begin;
  for (; end != ranges_.end() && end->first <= last + 1; ++end) {
    first = std::min(first, end->first);
    last = std::max(last, end->last);
  }
  ranges_.insert(ranges_.erase(begin, end), {first, last});
}

void CodePointSet::insert(const CodePointSet& other) {
  for (const Range& range : other.ranges_) {
    insert(range.first, range.last);
  }
}

CodePointSet CodePointSet::complement() const {
  CodePointSet result;
  char32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) {
      result.ranges_.push_back({next, range.first - 1});
    }
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) {
    result.ranges_.push_back({next, kLastCodePoint});
  }
  return result;
}

CodePointSet CodePointSet::intersection(const CodePointSet& other) const {
  CodePointSet outside = complement();
  outside.insert(other.complement());
  return outside.complement();
}

bool CodePointSet::contains(char32_t code) const { return contains_code_point(ranges_, code); }

CodePointSet CodePointSet::category(std::string_view prefix) {
  CodePointSet result;
  CodePointSet assigned;
  for (const CategoryRange& range : kCategories) {
    assigned.insert(range.first, range.last);
    if (kCategoryNames[range.category].starts_with(prefix)) {
      result.insert(range.first, range.last);
    }
  }
  if (prefix == "Cn" || prefix == "C") {
    result.insert(assigned.complement());
  }
  return result;
}

const CodePointSet& CodePointSet::white_space() {
  static const CodePointSet set = {
      {0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
      {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
  return set;
}

const CodePointSet& CodePointSet::word() {
  static const CodePointSet set = [] {
    CodePointSet result = {
        {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
    for (const std::string_view name : {"L", "M", "Nd", "Nl", "Pc"}) {
      result.insert(category(name));
    }
    return result;
  }();
  return set;
}

bool is_numeric(char32_t code) {
  return code < 0x80 ? code >= '0' && code <= '9' : contains_code_point(kNumeric, code);
}

bool is_white_space(char32_t code) { return CodePointSet::white_space().contains(code); }

bool is_word(char32_t code) {
  return code == 0x200C || code == 0x200D || CodePointSet::word().contains(code);
}

bool is_punctuation(char32_t code) {
  static const CodePointSet set = [] {
    CodePointSet result = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
    // What Unicode 9 and later versions added is no punctuation yet; two were punctuation then.
    CodePointSet later = {{0x2E43, 0x2E44},   {0x1144B, 0x1144F}, {0x1145B, 0x1145B},
                          {0x1145D, 0x1145D}, {0x11660, 0x1166C}, {0x11C41, 0x11C45},
                          {0x11C70, 0x11C71}, {0x1E95E, 0x1E95F}};
    for (const CodePointSet::Range& range : kUnassigned) {
      later.insert(range.first, range.last);
    }
    result.insert(CodePointSet::category("P").intersection(later.complement()));
    result.insert(0x166D, 0x166D);
    result.insert(0x111C9, 0x111C9);
    return result;
  }();
  return set.contains(code);
}

bool is_mark(char32_t code) {
  static const CodePointSet set = CodePointSet::category("M");
  return set.contains(code) && !is_unknown_to_normalizers(code);
}

bool is_unknown_to_normalizers(char32_t code) {
  return code >= kUnassigned[0].first && contains_code_point(kUnassigned, code);
}

}  // namespace nibble::text
