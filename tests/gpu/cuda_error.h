#pragma once

#include <nibble/core/error.h>

#include <cuda_runtime.h>

/// Throws nibble::Error unless a CUDA runtime call succeeded.
#define NIBBLE_CHECK_CUDA(call)                                                               \
  do {                                                                                        \
    const cudaError_t nibble_error = (call);                                                  \
    NIBBLE_CHECK(nibble_error == cudaSuccess, #call, ": ", cudaGetErrorString(nibble_error)); \
  } while (false)
