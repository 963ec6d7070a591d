#include <nibble/kernels/gated_silu_cuda.h>

#include "../grid_dispatch.h"
#include "device/gated_silu.cuh"
#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr unsigned kThreads = 128;

template <class T>
__global__ void __launch_bounds__(kThreads) gated_silu_kernel(GatedSiluParams p) {
  let_next_begin();
  wait_for_previous();
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kOctet;
  if (at >= p.elements) return;
  store(gated_silu(static_cast<const T*>(p.gate) + at, static_cast<const T*>(p.up) + at),
        static_cast<T*>(p.output) + at);
}

}  // namespace
}  // namespace cuda

bool can_run_gated_silu(const GatedSiluParams& p) {
  return p.dtype != DType::kFloat32 && p.elements >= cuda::kOctet &&
         p.elements % cuda::kOctet == 0 && cuda::is_aligned(p.gate, 16) &&
         cuda::is_aligned(p.up, 16) && cuda::is_aligned(p.output, 16);
}

void gated_silu_cuda(const GatedSiluParams& params, CUstream_st* stream) {
  NIBBLE_CHECK(can_run_gated_silu(params), "gated_silu_cuda does not take ", params.elements,
               " elements of dtype ", static_cast<int>(params.dtype));
  const auto blocks =
      static_cast<unsigned>(cuda::ceil_divide(params.elements, cuda::kThreads * cuda::kOctet));
  dispatch_dtype(params.dtype, [&](auto element) {
    using T = typename decltype(element)::type;
    if constexpr (!std::is_same_v<T, float>) {
      cuda::launch_overlapping("gated_silu_kernel", cuda::gated_silu_kernel<T>,
                               {blocks, cuda::kThreads}, stream, params);
    }
  });
}

}  // namespace nibble::kernels
