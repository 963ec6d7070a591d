#include <nibble/core/error.h>
#include <nibble/core/parallel.h>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace nibble {
namespace {

TEST(Parallel, CallsEachIndexOnce) {
  for (const int threads : {0, 1, 3, 64}) {
    std::vector<std::atomic<int>> calls(37);
    parallel_for(calls.size(), threads, [&](size_t i) { ++calls[i]; });
    for (const std::atomic<int>& count : calls) EXPECT_EQ(count, 1) << threads;
  }
  parallel_for(0, 4, [](size_t) { FAIL(); });
}

TEST(Parallel, RethrowsTheLowestFailure) {
  using namespace std::chrono_literals;
  for (const int threads : {1, 4}) {
    std::atomic<size_t> calls = 0;
    std::string message;
    try {
      parallel_for(1000, threads, [&](size_t i) {
        ++calls;
        // The lowest failure is the last to happen.
        if (i == 2) std::this_thread::sleep_for(20ms);
        if (i >= 2) fail("row ", i);
      });
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_EQ(message, "row 2");
    EXPECT_LT(calls, 1000u);
  }
}

TEST(Parallel, RefusesANegativeNumberOfThreads) {
  EXPECT_THROW(parallel_for(1, -1, [](size_t) {}), Error);
}

}  // namespace
}  // namespace nibble
