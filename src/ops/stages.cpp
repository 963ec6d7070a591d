#include <nibble/ops/stages.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <omp.h>

#if !defined(_OPENMP)
#error "compiled without LibTorch's threads (-fopenmp): every stage would run on one core"
#endif

namespace nibble::ops {
namespace {

int64_t tiles_of(const Stage& stage) { return (stage.rows + stage.tile - 1) / stage.tile; }

int threads_for(std::span<const Stage> stages) {
  int64_t most = 1;
  for (const Stage& stage : stages) most = std::max(most, tiles_of(stage));
  return static_cast<int>(std::min<int64_t>(most, at::get_num_threads()));
}

/// The first exception of several threads, which must not leave a parallel region.
class FirstException {
 public:
  void keep(std::exception_ptr exception) {
    if (!is_kept_.exchange(true)) exception_ = std::move(exception);
  }
  /// Whether there was one before the last barrier.
  bool is_kept() const { return is_kept_; }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::atomic<bool> is_kept_ = false;
  std::exception_ptr exception_;
};

}  // namespace

void run_stages(std::span<const Stage> stages) {
  FirstException failure;
#pragma omp parallel num_threads(threads_for(stages))
  {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    for (const Stage& stage : stages) {
      const int64_t tiles = tiles_of(stage);
      const int64_t begin = tiles * thread / threads * stage.tile;
      const int64_t end = std::min(tiles * (thread + 1) / threads * stage.tile, stage.rows);
      if (begin < end && !failure.is_kept()) {
        try {
          stage.run(begin, end);
        } catch (...) {
          failure.keep(std::current_exception());
        }
      }
#pragma omp barrier
    }
  }
  failure.rethrow();
}

}  // namespace nibble::ops
