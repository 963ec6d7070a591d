#include <nibble/kernels/add_rms_norm_cuda.h>

#include "../grid_dispatch.h"
#include "device/overlap.cuh"
#include "device/rms_norm_row.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int64_t kMostCols = 16384;  // of a row in shared memory
constexpr int64_t kMostThreads = 1024;

/// A block for each row.
template <class T>
__global__ void __launch_bounds__(kMostThreads) add_rms_norm_kernel(AddRmsNormParams p) {
  extern __shared__ uint4 shared[];
  __shared__ float sums[kWarp];
  auto* row = reinterpret_cast<WordsOf<T, kOctet>*>(shared);
  let_next_begin();
  wait_for_previous();
  const int64_t first = blockIdx.x * p.cols;
  T* residual = static_cast<T*>(p.residual) + first;
  T* output = static_cast<T*>(p.output) + first;
  const RmsNormRow<T> norm = {residual, offset(static_cast<const T*>(p.update), first),
                              static_cast<const T*>(p.weight), p.eps,
                              static_cast<uint32_t>(p.cols)};
  norm.run(
      row, sums, [&](const auto& x, uint32_t col) { store(x, residual + col); },
      [&](const auto& x, uint32_t col) { store(x, output + col); });
}

}  // namespace
}  // namespace cuda

bool can_run_add_rms_norm(const AddRmsNormParams& p) {
  return p.dtype != DType::kFloat32 && p.rows >= 1 && p.cols >= cuda::kOctet &&
         p.cols <= cuda::kMostCols && p.cols % cuda::kOctet == 0 &&
         cuda::is_aligned(p.residual, 16) && cuda::is_aligned(p.update, 16) &&
         cuda::is_aligned(p.weight, 16) && cuda::is_aligned(p.output, 16);
}

void add_rms_norm_cuda(const AddRmsNormParams& params, CUstream_st* stream) {
  NIBBLE_CHECK(can_run_add_rms_norm(params), "add_rms_norm_cuda does not take [", params.rows, ", ",
               params.cols, "] of dtype ", static_cast<int>(params.dtype));
  const int64_t octets = params.cols / cuda::kOctet;
  const auto threads = static_cast<unsigned>(
      std::min(cuda::kMostThreads, cuda::ceil_divide(octets, cuda::kWarp) * cuda::kWarp));
  dispatch_dtype(params.dtype, [&](auto element) {
    using T = typename decltype(element)::type;
    if constexpr (!std::is_same_v<T, float>) {
      cuda::launch_overlapping("add_rms_norm_kernel", cuda::add_rms_norm_kernel<T>,
                               {static_cast<unsigned>(params.rows), threads,
                                static_cast<size_t>(params.cols) * sizeof(T)},
                               stream, params);
    }
  });
}

}  // namespace nibble::kernels
