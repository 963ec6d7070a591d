#pragma once

#include <nibble/kernels/fake_quant.h>

struct CUstream_st;

namespace nibble::kernels {

/// The index of the largest of `count` logits, the lowest of equal ones; a NaN is larger than any
/// number.
struct GreedyTokenParams {
  DType dtype = DType::kBFloat16;
  int64_t count = 0;  ///< 1 to 2^31 - 1
  const void* logits = nullptr;
  int64_t* token = nullptr;  ///< one
};

/// Whether greedy_token_cuda() takes them: logits aligned to 16 bytes.
bool can_run_greedy_token(const GreedyTokenParams& params);

/// On the current CUDA device; returns once the work is queued on `stream`. Throws Error for
/// parameters that it does not take, when the launch fails and, in a build without CUDA, always.
void greedy_token_cuda(const GreedyTokenParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
