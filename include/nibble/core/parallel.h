#pragma once

#include <cstddef>
#include <functional>

namespace nibble {

/// Calls `work(i)` for every i below `count`, by up to `threads` threads, this one among them; 0
/// stands for one a processor. Which thread takes which i is not fixed: `work` must depend on i
/// alone. When calls throw, no further ones begin, and the exception of the lowest i that throws is
/// rethrown, whatever the number of threads. Throws Error for a negative number of them.
void parallel_for(size_t count, int threads, const std::function<void(size_t)>& work);

}  // namespace nibble
