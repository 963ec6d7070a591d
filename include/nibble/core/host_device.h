#pragma once

/// Marks a function that both the host compiler and nvcc compile. Always inlined: the SIMD kernels
/// compile the same headers for other instruction sets, and the linker must never pick one of
/// their copies for everybody.
#if defined(__CUDACC__)
#define NIBBLE_HD __host__ __device__ __forceinline__
#else
#define NIBBLE_HD inline __attribute__((always_inline))
#endif
