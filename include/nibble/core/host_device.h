#pragma once

/// Marks a function that both the host compiler and nvcc compile.
#if defined(__CUDACC__)
#define NIBBLE_HD __host__ __device__ inline
#else
#define NIBBLE_HD inline
#endif
