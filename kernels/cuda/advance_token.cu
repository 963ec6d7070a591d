#include <nibble/kernels/advance_token_cuda.h>

#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

__global__ void advance_token_kernel(AdvanceTokenParams p) {
  let_next_begin();
  wait_for_previous();
  const int64_t next = *p.next, position = *p.position;
  *p.token = next;
  p.history[position % p.history_size] = next;
  *p.position = position + 1;
}

}  // namespace
}  // namespace cuda

void advance_token_cuda(const AdvanceTokenParams& params, CUstream_st* stream) {
  cuda::launch_overlapping("advance_token_kernel", cuda::advance_token_kernel, {1, 1}, stream,
                           params);
}

}  // namespace nibble::kernels
