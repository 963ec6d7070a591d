#include <nibble/core/error.h>
#include <nibble/numerics/pack_int4.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_or.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/stack.h>
#include <torch/library.h>

#include "fake_quant_calls.h"

namespace nibble::ops {
namespace {

using at::Tensor;

// Packing happens once a conversion, so ATen's element-wise operators on any device will do.
Tensor pack(const Tensor& codes, bool symmetric) {
  NIBBLE_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kChar,
               "codes to pack must be int8 [rows, cols], got rank ", codes.dim(), " ",
               c10::toString(codes.scalar_type()));
  const int64_t stored_zero = numerics::kInt4Offset;
  Tensor nibbles = symmetric ? codes.add(stored_zero).to(at::kByte) : codes.to(at::kByte);
  if (codes.size(1) % 2 != 0) nibbles = at::constant_pad_nd(nibbles, {0, 1}, stored_zero);
  const Tensor pairs = nibbles.reshape({codes.size(0), -1, 2});
  return pairs.select(2, 0).bitwise_or(pairs.select(2, 1).mul(16)).contiguous();
}

Tensor unpack(const Tensor& packed, int64_t cols, bool symmetric) {
  check_packed(packed, cols);
  const Tensor low = at::bitwise_and(packed, 0x0f);
  const Tensor high = at::bitwise_right_shift(packed, 4);
  const Tensor nibbles =
      at::stack({low, high}, 2).reshape({packed.size(0), -1}).narrow(1, 0, cols).to(at::kChar);
  return symmetric ? nibbles.sub(numerics::kInt4Offset) : nibbles.contiguous();
}

Tensor dequantize(const Tensor& packed, const Tensor& scales, const std::optional<Tensor>& zeros,
                  int64_t cols, bool symmetric, at::ScalarType dtype) {
  check_packed(packed, cols);
  const WeightQuantization how = check_parameters({packed.size(0), cols}, scales, zeros, symmetric);
  return dequantize_codes(
      {.packed_codes = packed, .scales = scales, .zeros = zeros.value_or(Tensor())}, how, dtype,
      dtype);
}

}  // namespace

Tensor pack_int4(const Tensor& codes, bool symmetric) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("nibble::pack_int4", "")
                             .typed<Tensor(const Tensor&, bool)>();
  return op.call(codes, symmetric);
}

Tensor unpack_int4(const Tensor& packed, int64_t cols, bool symmetric) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("nibble::unpack_int4", "")
                             .typed<Tensor(const Tensor&, int64_t, bool)>();
  return op.call(packed, cols, symmetric);
}

Tensor dequantize_packed_weight(const Tensor& packed, const Tensor& scales,
                                const std::optional<Tensor>& zeros, int64_t cols, bool symmetric,
                                at::ScalarType dtype) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("nibble::dequantize_packed_weight", "")
          .typed<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, int64_t, bool,
                        at::ScalarType)>();
  return op.call(packed, scales, zeros, cols, symmetric, dtype);
}

TORCH_LIBRARY_IMPL(nibble, CompositeExplicitAutograd, library) {
  library.impl("dequantize_packed_weight", dequantize);
}
TORCH_LIBRARY_IMPL(nibble, CompositeImplicitAutograd, library) {
  library.impl("pack_int4", pack);
  library.impl("unpack_int4", unpack);
}

}  // namespace nibble::ops
