#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace nibble {

/// The one exception type of the library. The message is written for the person who can fix the
/// input: it names the thing, what was found and what is allowed.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {
/// Concatenates the arguments with operator<<.
template <class... Args>
std::string concat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}
}  // namespace detail

/// Throws Error with the arguments concatenated.
template <class... Args>
[[noreturn]] void fail(const Args&... args) {
  throw Error(detail::concat(args...));
}

}  // namespace nibble

/// Throws nibble::Error with the remaining arguments concatenated unless `condition` holds. Always
/// on.
#define NIBBLE_CHECK(condition, ...) \
  do {                               \
    if (!(condition)) [[unlikely]] { \
      ::nibble::fail(__VA_ARGS__);   \
    }                                \
  } while (false)
