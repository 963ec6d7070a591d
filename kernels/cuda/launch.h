#pragma once

#include <nibble/core/error.h>
#include <nibble/kernels/fake_quant.h>

#include <algorithm>
#include <cstdint>
#include <cuda_runtime.h>
#include <utility>

/// What the launchers share, on the host.
namespace nibble::kernels::cuda {

inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  NIBBLE_CHECK(error == cudaSuccess, "CUDA kernel ", kernel,
               " was not launched: ", cudaGetErrorString(error));
}

inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  NIBBLE_CHECK(cudaGetDevice(&device) == cudaSuccess &&
                   cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess,
               "CUDA does not tell device attribute ", static_cast<int>(attribute));
  return value;
}

/// Blocks of a cluster that every GPU with clusters has room for: 1 where there are none.
inline unsigned most_cluster_blocks() {
#if defined(NIBBLE_SM_90A)
  return device_attribute(cudaDevAttrComputeCapabilityMajor) == 9 ? 8 : 1;
#else
  return 1;
#endif
}

struct LaunchShape {
  unsigned blocks;
  unsigned threads;
  size_t shared_bytes = 0;
  unsigned cluster_blocks = 1;  ///< more only on sm_90 (device/cluster.cuh)
};

/// Starts a kernel that may begin before the previous one ends (device/overlap.cuh).
template <class... Params, class... Arguments>
void launch_overlapping(const char* name, void (*kernel)(Params...), const LaunchShape& shape,
                        cudaStream_t stream, Arguments&&... arguments) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {shape.cluster_blocks, 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(shape.blocks);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = device_attribute(cudaDevAttrComputeCapabilityMajor) < 9 ? 0
                    : shape.cluster_blocks == 1                             ? 1
                                                                            : 2;
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  NIBBLE_CHECK(error == cudaSuccess, "CUDA kernel ", name,
               " was not launched: ", cudaGetErrorString(error));
}

/// Whether the address is a multiple of `bytes`; null is.
inline bool is_aligned(const void* address, size_t bytes) {
  return reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

template <class T>
__host__ __device__ inline T* offset(T* base, int64_t elements) {
  return base == nullptr ? nullptr : base + elements;
}

inline int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

inline void* offset_elements(void* base, DType dtype, int64_t elements) {
  return offset(static_cast<char*>(base), elements * bytes_of(dtype));
}
inline const void* offset_elements(const void* base, DType dtype, int64_t elements) {
  return offset(static_cast<const char*>(base), elements * bytes_of(dtype));
}

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Calls body(first_row, rows) for pieces of the matrix whose units (threads or blocks, `per_row`
/// of them) a kernel can count in 31 bits.
template <class Body>
void for_each_piece(int64_t rows, int64_t per_row, Body&& body) {
  constexpr int64_t kMostUnits = int64_t{1} << 31;
  if (per_row == 0) return;
  NIBBLE_CHECK(per_row < kMostUnits, "a row of ", per_row, " work units is too long for CUDA");
  const int64_t rows_per_piece = std::max<int64_t>(1, (kMostUnits - 1) / per_row);
  for (int64_t first = 0; first < rows; first += rows_per_piece) {
    body(first, std::min(rows_per_piece, rows - first));
  }
}

}  // namespace nibble::kernels::cuda
