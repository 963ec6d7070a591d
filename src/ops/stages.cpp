#include <nibble/ops/token_stages.h>

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>

#if !defined(_OPENMP)
#error "compiled without LibTorch's threads (-fopenmp): every stage would run on one core"
#endif

namespace nibble::ops {

void run_stages(std::span<const Stage> stages) {
#pragma omp parallel num_threads(at::get_num_threads())
  {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    for (const Stage& stage : stages) {
      const int64_t tiles = (stage.rows + stage.tile - 1) / stage.tile;
      const int64_t begin = tiles * thread / threads * stage.tile;
      const int64_t end = std::min(tiles * (thread + 1) / threads * stage.tile, stage.rows);
      if (begin < end) stage.run(begin, end);
#pragma omp barrier
    }
  }
}

}  // namespace nibble::ops
