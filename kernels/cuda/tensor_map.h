#pragma once

#include <cstdint>
#include <cuda.h>

namespace nibble::kernels::cuda {

/// A row-major matrix in device memory that the copy engine takes boxes from.
struct BoxedMatrix {
  CUtensorMapDataType type;
  const void* data;  ///< aligned to 16 bytes
  uint64_t rows, cols;
  uint64_t row_bytes;  ///< a multiple of 16
  uint32_t box_rows, box_cols;
  CUtensorMapSwizzle swizzle;
};

/// What device/copy_engine.cuh's copy_box() takes. Throws Error where the driver refuses.
CUtensorMap make_tensor_map(const BoxedMatrix& matrix);

}  // namespace nibble::kernels::cuda
