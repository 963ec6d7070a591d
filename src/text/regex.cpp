#include "regex.h"

#include <nibble/core/error.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>

#include "oniguruma_syntax.h"
#include "utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace nibble::text {
namespace {

constexpr uint32_t kMatchLimit = 100'000'000;
constexpr uint32_t kDepthLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 256 * 1024;
constexpr size_t kJitStackBytes = 16 << 20;
constexpr char32_t kCodePoints = 0x110000;

using Symbol = unsigned char;

/// Maps each code point to its symbol: pages of 256, equal pages stored once.
class SymbolTable {
 public:
  /// Code points get equal symbols when they are members of the same `sets`.
  SymbolTable(const std::vector<const CodePointSet*>& sets, const std::string& origin);

  Symbol operator[](char32_t code) const { return pages_[page_of_[code >> 8]][code & 0xFF]; }
  /// The symbols of the members of set number `set`, as a PCRE2 class.
  std::string class_of(size_t set) const;

 private:
  using Page = std::array<Symbol, 256>;
  using Membership = std::vector<bool>;

  void assign(char32_t first, char32_t end, Symbol symbol, Page& page);

  std::vector<std::pair<Membership, Symbol>> members_;
  std::vector<uint16_t> page_of_;
  std::vector<Page> pages_;
  std::map<Page, uint16_t> page_numbers_;
};

SymbolTable::SymbolTable(const std::vector<const CodePointSet*>& sets, const std::string& origin) {
  std::vector<char32_t> bounds = {0, '\n', '\n' + 1, kCodePoints};
  for (const CodePointSet* set : sets) {
    for (const auto& [first, last] : set->ranges()) {
      bounds.push_back(first);
      bounds.push_back(last + 1);
    }
  }
  std::sort(bounds.begin(), bounds.end());
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());

  // The line feed stays itself, alone, so that ^, $ and \Z see the line ends.
  std::map<Membership, Symbol> symbols;
  unsigned next = 0;
  Page page{};
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    Membership membership;
    for (const CodePointSet* set : sets) {
      membership.push_back(set->contains(bounds[i]));
    }
    membership.push_back(bounds[i] == '\n');
    auto found = symbols.find(membership);
    if (found == symbols.end()) {
      next += next == '\n' ? 1 : 0;
      const unsigned symbol = membership.back() ? '\n' : next++;
      NIBBLE_CHECK(symbol < 256, origin, ": the pattern tells more than 255 kinds of characters",
                   " apart, which is not supported");
      found = symbols.emplace(membership, static_cast<Symbol>(symbol)).first;
    }
    assign(bounds[i], bounds[i + 1], found->second, page);
  }
  members_.assign(symbols.begin(), symbols.end());
  page_numbers_.clear();
}

void SymbolTable::assign(char32_t first, char32_t end, Symbol symbol, Page& page) {
  for (char32_t code = first; code < end; ++code) {
    page[code & 0xFF] = symbol;
    if ((code & 0xFF) == 0xFF) {
      const auto number = static_cast<uint16_t>(pages_.size());
      const auto [entry, is_new] = page_numbers_.emplace(page, number);
      if (is_new) {
        pages_.push_back(page);
      }
      page_of_.push_back(entry->second);
    }
  }
}

std::string SymbolTable::class_of(size_t set) const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string symbols;
  for (const auto& [membership, symbol] : members_) {
    if (membership[set]) {
      symbols += {'\\', 'x', kDigits[symbol >> 4], kDigits[symbol & 0xF]};
    }
  }
  return symbols.empty() ? "[^\\x00-\\xff]" : "[" + symbols + "]";
}

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
using Code = std::unique_ptr<pcre2_code, FreeCode>;

std::string pcre2_message(int error) {
  std::array<PCRE2_UCHAR, 256> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  return reinterpret_cast<const char*>(message.data());
}

Code compile(const std::string& pattern, std::string_view source, const std::string& origin) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  struct FreeContext {
    void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  };
  const std::unique_ptr<pcre2_compile_context, FreeContext> context(
      pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_MULTILINE | PCRE2_NEVER_UTF, &error, &offset, context.get()));
  NIBBLE_CHECK(code, origin, ": the pattern \"", source,
               "\" does not compile: ", pcre2_message(error));
  // Without JIT support the interpreter runs the same program.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

/// What a search needs besides the program; one a thread, since it is costly to make.
class SearchState {
 public:
  SearchState()
      : data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr)) {
    NIBBLE_CHECK(data_ && context_, "out of memory for a pattern search");
    pcre2_set_match_limit(context_, kMatchLimit);
    pcre2_set_depth_limit(context_, kDepthLimit);
    pcre2_set_heap_limit(context_, kHeapLimitKib);
    pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  SearchState(const SearchState&) = delete;
  SearchState& operator=(const SearchState&) = delete;
  ~SearchState() {
    pcre2_match_data_free(data_);
    pcre2_match_context_free(context_);
    pcre2_jit_stack_free(stack_);
  }

  /// The first match at or behind `start`; an end before its begin when there is none.
  Range search(const pcre2_code* code, std::string_view symbols, size_t start) {
    const int result = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(symbols.data()),
                                   symbols.size(), start, PCRE2_NO_UTF_CHECK, data_, context_);
    if (result == PCRE2_ERROR_NOMATCH) {
      return {1, 0};
    }
    NIBBLE_CHECK(result >= 0, "a tokenizer's pattern fails on a text of ", symbols.size(),
                 " characters: ", pcre2_message(result));
    const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(data_);
    return {bounds[0], bounds[1]};
  }

 private:
  pcre2_match_data* data_;
  pcre2_match_context* context_;
  pcre2_jit_stack* stack_;
};

}  // namespace

struct Regex::Program {
  SymbolTable symbols;
  Code code;
};

Regex::Regex(std::string_view pattern, const std::string& origin) {
  const std::vector<PatternPart> parts = parse_oniguruma(pattern, origin);
  std::vector<const CodePointSet*> sets;
  for (const PatternPart& part : parts) {
    if (const auto* set = std::get_if<CodePointSet>(&part.content)) {
      sets.push_back(set);
    }
  }
  SymbolTable symbols(sets, origin);
  std::string source;
  size_t set = 0;
  for (const PatternPart& part : parts) {
    const auto* operators = std::get_if<std::string>(&part.content);
    source += operators != nullptr ? *operators : symbols.class_of(set++);
  }
  Code code = compile(source, pattern, origin);
  program_ = std::make_shared<Program>(Program{std::move(symbols), std::move(code)});
}

std::vector<Range> Regex::find_all(std::string_view text) const {
  if (text.empty()) {
    return {};
  }
  thread_local SearchState state;
  std::string symbols;
  symbols.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    symbols += static_cast<char>(program_->symbols[next_code_point(text, pos)]);
  }

  std::vector<Range> matches;
  constexpr size_t kNone = static_cast<size_t>(-1);
  size_t last_end = kNone;
  size_t start = 0;
  while (start <= symbols.size()) {
    const Range match = state.search(program_->code.get(), symbols, start);
    if (match.end < match.begin) {
      break;
    }
    if (match.begin == match.end && match.end == last_end) {
      ++start;
      continue;
    }
    start = last_end = match.end;
    matches.push_back(match);
  }
  if (symbols.size() == text.size()) {
    return matches;
  }
  // From character positions to byte positions.
  size_t character = 0;
  size_t byte = 0;
  const auto to_byte = [&](size_t position) {
    for (; character < position; ++character) {
      byte += char_length(text[byte]);
    }
    return byte;
  };
  for (Range& match : matches) {
    match.begin = to_byte(match.begin);
    match.end = to_byte(match.end);
  }
  return matches;
}

}  // namespace nibble::text
