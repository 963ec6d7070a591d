#include <nibble/kernels/int8_weight_linear_cuda.h>

#include "../grid_dispatch.h"
#include "device/chunk.cuh"
#include "device/overlap.cuh"
#include "device/sums.cuh"
#include "divider.h"
#include "launch.h"

// Bound by reading the codes: a lane takes 16 of them, 16 bytes, of each of its warp's rows.
namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int kCodes = 16;
constexpr int kWarps = 8;
constexpr int kWarpRows = 2;
constexpr int64_t kBlockRows = kWarps * kWarpRows;
constexpr int64_t kMostTokens = 4;

template <class T, int kTokens>
__global__ void __launch_bounds__(kWarps* kWarp)
    int8_weight_linear_kernel(Int8WeightLinearParams p, Divider chunks_per_group) {
  let_next_begin();
  wait_for_previous();
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t first = int64_t{blockIdx.x} * kBlockRows + warp * kWarpRows;
  if (first >= p.rows) return;
  const T* input = static_cast<const T*>(p.input);
  float sums[kWarpRows][kTokens] = {};
#pragma unroll 4
  for (int64_t col = lane * kCodes; col < p.cols; col += kWarp * kCodes) {
    const uint32_t group = chunks_per_group.quotient(static_cast<uint32_t>(col / kCodes));
    Chunk<float, kCodes> x[kTokens];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      // Tokens beyond the last repeat it; they are not stored.
      load(input + (t < p.tokens ? t : p.tokens - 1) * p.cols + col, x[t]);
    }
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const int64_t row = first + r < p.rows ? first + r : first;
      Chunk<float, kCodes> codes;
      load(p.codes + row * p.cols + col, codes);
      const float scale = p.scales[row * p.groups + group];
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < kCodes; ++i) sum = fmaf(codes.lanes[i], x[t].lanes[i], sum);
        sums[r][t] = fmaf(scale, sum, sums[r][t]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kWarpRows; ++r) {
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const float sum = sum_of_lanes(sums[r][t]);
      if (lane == 0 && first + r < p.rows && t < p.tokens) {
        static_cast<T*>(p.output)[t * p.rows + first + r] = T(sum);
      }
    }
  }
}

template <class T, int kTokens>
void start(const Int8WeightLinearParams& params, CUstream_st* stream) {
  const auto blocks = static_cast<unsigned>(ceil_divide(params.rows, kBlockRows));
  launch_overlapping("int8_weight_linear_kernel", int8_weight_linear_kernel<T, kTokens>,
                     {blocks, kWarps * kWarp}, stream, params,
                     Divider(static_cast<uint32_t>(params.cols / params.groups / kCodes)));
}

}  // namespace
}  // namespace cuda

bool can_run_int8_weight_linear(const Int8WeightLinearParams& p) {
  return p.rows > 0 && p.cols > 0 && p.groups > 0 && p.tokens >= 1 &&
         p.tokens <= cuda::kMostTokens && p.cols % (p.groups * cuda::kCodes) == 0 &&
         p.rows <= int64_t{1} << 31 && p.cols < int64_t{1} << 31 && cuda::is_aligned(p.codes, 16) &&
         cuda::is_aligned(p.input, 16);
}

void int8_weight_linear_cuda(const Int8WeightLinearParams& params, CUstream_st* stream) {
  NIBBLE_CHECK(can_run_int8_weight_linear(params), "int8_weight_linear_cuda does not take ",
               params.rows, " x ", params.cols, " codes in ", params.groups, " groups a row and ",
               params.tokens, " tokens");
  dispatch_dtype(params.dtype, [&](auto element) {
    using T = typename decltype(element)::type;
    if (params.tokens == 1) {
      cuda::start<T, 1>(params, stream);
    } else {
      cuda::start<T, cuda::kMostTokens>(params, stream);
    }
  });
}

}  // namespace nibble::kernels
