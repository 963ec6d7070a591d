#include <nibble/kernels/int8_embedding_cuda.h>

#include "../grid_dispatch.h"
#include "device/chunk.cuh"
#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr unsigned kThreads = 256;

/// A thread for each octet of the output.
template <class T>
__global__ void __launch_bounds__(kThreads) int8_embedding_kernel(Int8EmbeddingParams p) {
  let_next_begin();
  wait_for_previous();
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kOctet;
  if (at >= p.tokens * p.cols) return;
  const int64_t id = p.ids[at / p.cols], col = at % p.cols;
  if (id < 0 || id >= p.rows) __trap();
  Octet<float> values;
  load(p.codes + id * p.cols + col, values);
  const float scale = p.scales[id * p.groups + col / (p.cols / p.groups)];
#pragma unroll
  for (int i = 0; i < kOctet; ++i) values.lanes[i] = numerics::multiply(values.lanes[i], scale);
  store(values, static_cast<T*>(p.output) + at);
}

}  // namespace
}  // namespace cuda

bool can_run_int8_embedding(const Int8EmbeddingParams& p) {
  return p.tokens >= 1 && p.rows >= 1 && p.groups >= 1 && p.cols >= cuda::kOctet &&
         p.cols % (p.groups * cuda::kOctet) == 0 && cuda::is_aligned(p.codes, 8) &&
         cuda::is_aligned(p.output, 16) &&
         p.tokens <= (int64_t{1} << 31) / p.cols;  // blocks are counted in 31 bits
}

void int8_embedding_cuda(const Int8EmbeddingParams& params, CUstream_st* stream) {
  NIBBLE_CHECK(can_run_int8_embedding(params), "int8_embedding_cuda does not take ", params.tokens,
               " of ", params.rows, " x ", params.cols, " codes in ", params.groups,
               " groups a row");
  const auto blocks = static_cast<unsigned>(
      cuda::ceil_divide(params.tokens * params.cols, cuda::kThreads * cuda::kOctet));
  dispatch_dtype(params.dtype, [&](auto element) {
    using T = typename decltype(element)::type;
    cuda::launch_overlapping("int8_embedding_kernel", cuda::int8_embedding_kernel<T>,
                             {blocks, cuda::kThreads}, stream, params);
  });
}

}  // namespace nibble::kernels
