#include <nibble/core/error.h>
#include <nibble/nn/int8_weight.h>
#include <nibble/ops/int8_weight_linear.h>

namespace nibble::nn {

int64_t Int8Weight::bytes() const {
  return defined() ? static_cast<int64_t>(codes.nbytes() + scales.nbytes()) : 0;
}

at::Tensor Int8Weight::dequantize(at::ScalarType dtype) const {
  return ops::dequantize_int8_weight(codes, scales, dtype);
}

void Int8Weight::check(const char* what, int64_t rows, int64_t columns) const {
  NIBBLE_CHECK(codes.dim() == 2 && codes.size(0) == rows && codes.size(1) == columns &&
                   codes.scalar_type() == at::kChar,
               what, " must be int8 [", rows, ", ", columns, "], got ",
               c10::toString(codes.scalar_type()), " ", codes.sizes());
  NIBBLE_CHECK(scales.dim() == 2 && scales.size(0) == rows && scales.size(1) >= 1 &&
                   columns % scales.size(1) == 0 && scales.scalar_type() == at::kFloat,
               "the scales of ", what, " must be Float [", rows, ", groups] with groups dividing ",
               columns, ", got ", c10::toString(scales.scalar_type()), " ", scales.sizes());
}

}  // namespace nibble::nn
