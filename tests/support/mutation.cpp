#include "support/mutation.h"

#include <nibble/core/error.h>

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <iostream>

#include "support/allocation_watch.h"

namespace nibble::testing {
namespace {

constexpr std::array kNumbers = {"0",
                                 "-1",
                                 "1",
                                 "7",
                                 "255",
                                 "65536",
                                 "2147483647",
                                 "4294967295",
                                 "4294967296",
                                 "1e308",
                                 "-1e400",
                                 "9223372036854775807",
                                 "0.5",
                                 "1e-320",
                                 "-9223372036854775808",
                                 "18446744073709551615",
                                 "99999999999999999999999"};
constexpr std::array<uint64_t, 12> kIntegers = {0,
                                                1,
                                                7,
                                                64,
                                                0x7fffffff,
                                                0x80000000,
                                                0xffffffff,
                                                uint64_t{1} << 32,
                                                uint64_t{1} << 40,
                                                uint64_t{1} << 62,
                                                uint64_t{1} << 63,
                                                ~uint64_t{0}};

// Inputs grow by splices; those that no longer look like a file of the kind teach nothing.
constexpr size_t kMaxGrowth = size_t{1} << 16;

#if defined(__SANITIZE_ADDRESS__)
constexpr double kSlowdown = 10;
#else
constexpr double kSlowdown = 1;
#endif

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Printable, and not longer than a screen.
std::string excerpt(const std::string& text) {
  std::string shown;
  for (const char c : text.substr(0, 600)) shown += c >= ' ' && c <= '~' ? c : '.';
  return shown;
}

}  // namespace

Mutator::Range Mutator::range_of(const std::string& text) {
  Range range;
  range.begin = below(text.size() + 1);
  const size_t longest = below(2) == 0 ? 16 : text.size();
  range.size = below(std::min(longest, text.size() - range.begin) + 1);
  return range;
}

void Mutator::replace_number(std::string& text) {
  size_t begin = below(text.size());
  while (begin < text.size() && !is_digit(text[begin])) ++begin;
  size_t end = begin;
  while (end < text.size() && is_digit(text[end])) ++end;
  if (begin < end) text.replace(begin, end - begin, kNumbers[below(kNumbers.size())]);
}

void Mutator::damage_once(std::string& text, std::span<const std::string> donors,
                          std::span<const std::string> dictionary) {
  const Range range = range_of(text);
  const std::string piece = text.substr(range.begin, range.size);
  const size_t at = below(text.size() + 1);
  switch (below(11)) {
    case 0:
      if (!text.empty()) {
        char& byte = text[below(text.size())];
        byte = static_cast<char>(byte ^ (1 << below(8)));
      }
      break;
    case 1:
      if (!text.empty()) text[below(text.size())] = static_cast<char>(below(256));
      break;
    case 2:
      text.resize(at);
      break;
    case 3:
      text.erase(range.begin, range.size);
      break;
    case 4:
      text.insert(at, piece);
      break;
    case 5:
      for (size_t copies = 1 + below(200); copies > 0 && text.size() < kMaxGrowth; --copies) {
        text.insert(range.begin, piece);
      }
      break;
    case 6:
      text.erase(range.begin, range.size);
      text.insert(std::min(at, text.size()), piece);
      break;
    case 7: {
      const std::string& donor = donors[below(donors.size())];
      const Range from = range_of(donor);
      text.replace(range.begin, below(2) * range.size, donor.substr(from.begin, from.size));
      break;
    }
    case 8:
      if (!dictionary.empty()) {
        text.replace(range.begin, below(2) * std::min<size_t>(range.size, 8),
                     dictionary[below(dictionary.size())]);
      }
      break;
    case 9:
      replace_number(text);
      break;
    default: {
      const uint64_t value = kIntegers[below(kIntegers.size())];
      const size_t width = below(2) == 0 ? 4 : 8;
      if (text.size() >= width) {
        text.replace(below(text.size() - width + 1), width,
                     std::string(reinterpret_cast<const char*>(&value), width));
      }
      break;
    }
  }
}

std::string Mutator::damage(const std::string& text, std::span<const std::string> donors,
                            std::span<const std::string> dictionary) {
  std::string damaged = text;
  for (size_t times = 1 + below(4); times > 0; --times) damage_once(damaged, donors, dictionary);
  return damaged;
}

std::string refusal_of(const MutationTest& limits, const std::string& text, std::string_view what,
                       const std::function<void(const std::string&)>& attempt) {
  static const bool trace = number_from("NIBBLE_MUTATION_TRACE", 0) != 0;
  if (trace) std::cerr << what << std::endl;
  std::string refusal;
  std::string problem;
  const std::clock_t start = std::clock();  // other processes must not count
  const AllocationWatch watch;
  try {
    attempt(text);
  } catch (const Error& error) {
    refusal = error.what();
  } catch (const std::exception& error) {
    problem = detail::concat("another exception than nibble::Error: ", error.what());
  }
  const size_t peak = watch.peak_bytes();
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  if (peak > limits.base_bytes + limits.bytes_per_byte * text.size()) {
    problem += detail::concat(" held ", peak, " bytes for ", text.size(), " bytes of input");
  }
  if (seconds > limits.seconds * kSlowdown)
    problem += detail::concat(" took ", seconds, " s of CPU time");
  EXPECT_EQ(problem, "") << what << ": " << excerpt(text);
  return refusal;
}

void survive(const MutationTest& test, const std::function<void(const std::string&)>& attempt) {
  ASSERT_FALSE(test.originals.empty());
  for (size_t i = 0; i < test.originals.size(); ++i) {
    EXPECT_EQ(refusal_of(test, test.originals[i], detail::concat("original ", i), attempt), "")
        << "undamaged, it must be accepted: " << excerpt(test.originals[i]);
  }
  const uint64_t first = number_from("NIBBLE_MUTATION_SEED", 0);
  const uint64_t count = number_from("NIBBLE_MUTATIONS", static_cast<uint64_t>(test.mutations));
  uint64_t accepted = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    Mutator mutator(seed);
    const std::string& original = test.originals[mutator.below(test.originals.size())];
    const std::string damaged = mutator.damage(original, test.originals, test.dictionary);
    const std::string what = detail::concat("NIBBLE_MUTATION_SEED=", seed);
    accepted += refusal_of(test, damaged, what, attempt).empty() ? 1 : 0;
    if (::testing::Test::HasFailure()) return;  // the first one is enough to look at
  }
  std::cout << accepted << " of " << count << " damaged inputs were accepted\n";
}

}  // namespace nibble::testing
