#pragma once

#include <cstdint>

struct CUstream_st;

namespace nibble::kernels {

/// The end of a decoding step, so that a CUDA graph of it can be replayed for the next one: token =
/// next, history[position % history_size] = next, position += 1.
struct AdvanceTokenParams {
  const int64_t* next = nullptr;
  int64_t* token = nullptr;
  int64_t* position = nullptr;
  int64_t* history = nullptr;  ///< [history_size], on the device or in pinned host memory
  int64_t history_size = 1;
};

/// On the current CUDA device; returns once the work is queued on `stream`. Throws Error when the
/// launch fails and, in a build without CUDA, always.
void advance_token_cuda(const AdvanceTokenParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
