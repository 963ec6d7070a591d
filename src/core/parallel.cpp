#include <nibble/core/error.h>
#include <nibble/core/parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace nibble {
namespace {

/// Hands out indices in order, and what is handed out is worked off. So when one fails, all lower
/// ones were handed out before, and the lowest failure of all is known once the threads have ended.
class Indices {
 public:
  explicit Indices(size_t count) : count_(count) {}

  void work_off(const std::function<void(size_t)>& work) {
    while (!failed_) {
      const size_t i = next_++;
      if (i >= count_) return;
      try {
        work(i);
      } catch (...) {
        keep(i, std::current_exception());
      }
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void keep(size_t index, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_ || index < failed_index_) {
      failed_index_ = index;
      error_ = std::move(error);
    }
    failed_ = true;
  }

  const size_t count_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  size_t failed_index_ = 0;
  std::exception_ptr error_;
};

size_t thread_count(size_t count, int threads) {
  NIBBLE_CHECK(threads >= 0, "the number of threads is ", threads,
               "; allowed: 1 and more, or 0 for one a processor");
  const size_t wanted =
      threads > 0 ? static_cast<size_t>(threads) : std::thread::hardware_concurrency();
  return std::clamp<size_t>(wanted, 1, std::max<size_t>(count, 1));
}

}  // namespace

void parallel_for(size_t count, int threads, const std::function<void(size_t)>& work) {
  Indices indices(count);
  {
    std::vector<std::jthread> others;
    for (size_t t = 1; t < thread_count(count, threads); ++t) {
      others.emplace_back([&] { indices.work_off(work); });
    }
    indices.work_off(work);
  }
  indices.rethrow();
}

}  // namespace nibble
