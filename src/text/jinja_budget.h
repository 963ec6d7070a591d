#pragma once

#include <nibble/core/error.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::text::jinja {

// Templates come from untrusted files: these bounds are far above what a published template needs
// on a long conversation, and low enough that the worst template ends in seconds.
inline constexpr uint64_t kMaxSteps = 50'000'000;
inline constexpr size_t kMaxTextBytes = size_t{64} << 20;      // one string, or the output
inline constexpr size_t kMaxAllocatedBytes = size_t{1} << 30;  // all values ever made in a render
inline constexpr size_t kMaxTemplateBytes = size_t{4} << 20;
inline constexpr size_t kMaxNames = 1000;    // named arguments of a call, parameters of a macro
inline constexpr int kMaxSyntaxDepth = 100;  // nested statements and brackets while parsing
inline constexpr int kMaxTreeDepth = 200;    // operators and subscripts in one expression
inline constexpr int kMaxEvaluationDepth = 1500;
inline constexpr int kMaxValueDepth = 200;  // lists in lists, filters over filters

/// What one render may still spend. Every operation pays before it works.
class Budget {
 public:
  /// A step is some tens of nanoseconds.
  void step(uint64_t count = 1) {
    NIBBLE_CHECK(count <= steps_, "the template runs too long (limit: ", kMaxSteps, " steps)");
    steps_ -= count;
  }

  /// Pays for a value of `bytes` bytes, and for the time to fill it.
  void allocate(size_t bytes) {
    NIBBLE_CHECK(bytes <= bytes_,
                 "the template uses too much memory (limit: ", kMaxAllocatedBytes >> 20, " MiB)");
    bytes_ -= bytes;
    step(bytes / 64);
  }

 private:
  uint64_t steps_ = kMaxSteps;
  size_t bytes_ = kMaxAllocatedBytes;
};

/// A string under construction that may not outgrow the budget.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(budget) {}

  TextBuilder& operator<<(std::string_view piece) {
    NIBBLE_CHECK(piece.size() <= kMaxTextBytes - text_.size(),
                 "the template makes a string longer than ", kMaxTextBytes >> 20, " MiB");
    budget_.step();
    budget_.allocate(piece.size());
    text_ += piece;
    return *this;
  }

  void repeat(std::string_view piece, size_t count) {
    NIBBLE_CHECK(piece.empty() || count <= kMaxTextBytes / piece.size(),
                 "the template makes a string longer than ", kMaxTextBytes >> 20, " MiB");
    for (size_t i = 0; !piece.empty() && i < count; ++i) {
      *this << piece;
    }
  }

  const std::string& view() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  Budget& budget_;
  std::string text_;
};

}  // namespace nibble::text::jinja
