#include "tensor_map.h"

#include <nibble/core/error.h>

#include <cuda_runtime.h>

namespace nibble::kernels::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found at run time: the library does not link to the driver.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  constexpr unsigned kFirstVersion = 12000;
  NIBBLE_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kFirstVersion,
                                                cudaEnableDefault, &found) == cudaSuccess &&
                   found == cudaDriverEntryPointSuccess,
               "the CUDA driver has no cuTensorMapEncodeTiled, needed on sm_90");
  return reinterpret_cast<Encode>(function);
}

}  // namespace

CUtensorMap make_tensor_map(const BoxedMatrix& matrix) {
  static const Encode encode = find_encode();
  CUtensorMap map;
  const cuuint64_t sizes[] = {matrix.cols, matrix.rows}, strides[] = {matrix.row_bytes};
  const cuuint32_t box[] = {matrix.box_cols, matrix.box_rows}, steps[] = {1, 1};
  const CUresult result =
      encode(&map, matrix.type, 2, const_cast<void*>(matrix.data), sizes, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, matrix.swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  NIBBLE_CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled refused a matrix [", matrix.rows,
               ", ", matrix.cols, "] with rows of ", matrix.row_bytes, " bytes: CUDA driver error ",
               static_cast<int>(result));
  return map;
}

}  // namespace nibble::kernels::cuda
