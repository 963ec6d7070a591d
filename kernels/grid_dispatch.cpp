#include "grid_dispatch.h"

#include <nibble/core/error.h>

namespace nibble::kernels {

void fail_unknown_dtype(DType dtype) { fail("unknown kernel dtype ", static_cast<int>(dtype)); }

void fail_unknown_grid(GridKind grid) {
  fail("unknown quantization grid ", static_cast<int>(grid));
}

void check_scale_dtype(const GroupedMatrix& matrix, DType needed) {
  NIBBLE_CHECK(matrix.scale_dtype == needed, "quantization grid ", static_cast<int>(matrix.grid),
               " keeps its scales and zeros in ",
               needed == DType::kFloat32 ? "float32" : "bfloat16", ", got kernel dtype ",
               static_cast<int>(matrix.scale_dtype));
}

GradientDTypes gradient_dtypes(const FakeQuantBackwardParams& params) {
  return {params.grad_output_dtype.value_or(params.matrix.dtype),
          params.grad_input_dtype.value_or(params.matrix.dtype)};
}

void fail_gradient_dtypes(const FakeQuantBackwardParams& params) {
  const GradientDTypes gradients = gradient_dtypes(params);
  fail("the gradients of a matrix of kernel dtype ", static_cast<int>(params.matrix.dtype),
       " have its dtype, or are bfloat16 in and float32 or bfloat16 out where it is float32; got ",
       static_cast<int>(gradients.output), " in and ", static_cast<int>(gradients.input), " out");
}

void fail_dequantized_dtype(const DequantizeParams& params) {
  fail("the values of a matrix of kernel dtype ", static_cast<int>(params.matrix.dtype),
       " have its dtype, or are bfloat16 where it is float32; got ",
       static_cast<int>(*params.output_dtype));
}

void check_packing(const GroupedMatrix& matrix, const void* packed_codes) {
  NIBBLE_CHECK(packed_codes == nullptr || matrix.grid != GridKind::kAsymmetricInt8,
               "int8 codes cannot be packed into four bits");
}

}  // namespace nibble::kernels
