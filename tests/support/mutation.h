#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Seeded damage to inputs that come from outside. NIBBLE_MUTATIONS sets how many damaged inputs
/// each test tries, NIBBLE_MUTATION_SEED which is the first (a failure names its seed), and
/// NIBBLE_MUTATION_TRACE=1 prints each seed before it is tried, for crashes.
namespace nibble::testing {

/// One to four of: bits flipped, bytes overwritten, ranges cut out, cut off, moved, repeated,
/// pieces of other inputs and of a dictionary spliced in, numbers replaced by extreme ones. What
/// the damage is depends on the seed alone.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string damage(const std::string& text, std::span<const std::string> donors,
                     std::span<const std::string> dictionary);

  size_t below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }

 private:
  struct Range {
    size_t begin = 0;
    size_t size = 0;
  };
  Range range_of(const std::string& text);
  void damage_once(std::string& text, std::span<const std::string> donors,
                   std::span<const std::string> dictionary);
  void replace_number(std::string& text);

  std::mt19937_64 random_;
};

/// What is tried, and what an attempt may cost.
struct MutationTest {
  std::vector<std::string> originals;
  std::vector<std::string> dictionary;
  int mutations = 1000;  ///< in the normal test run
  /// Memory that may be held at once: a constant and so many bytes for each byte of input.
  size_t base_bytes = size_t{1} << 20;
  size_t bytes_per_byte = 100;
  double seconds = 5;  ///< CPU time of one attempt; ten times that under a sanitizer
};

/// Calls `attempt` with damaged originals. Each call must return or throw nibble::Error within the
/// limits; anything else fails the test and names the seed. The originals themselves are tried
/// first and must be accepted.
void survive(const MutationTest& test, const std::function<void(const std::string&)>& attempt);

/// Calls `attempt` with `text` under the same rules; `what` names it in failures. Returns the text
/// of the Error, empty where there was none.
std::string refusal_of(const MutationTest& limits, const std::string& text, std::string_view what,
                       const std::function<void(const std::string&)>& attempt);

}  // namespace nibble::testing
