#include <nibble/core/error.h>
#include <nibble/nn/linear.h>
#include <nibble/numerics/pack_int4.h>
#include <nibble/ops/autocast.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/ops/int8_weight_linear.h>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/nn/functional/linear.h>

#include <utility>

#include "linear_support.h"

namespace nibble::nn {

using torch::Tensor;

namespace {

/// Returns when the device has done what is queued: products read their weight while the kernels
/// before them may still run (kernels/quantized_linear_cuda.h).
void wait_for(const at::Device& device) {
  if (!device.is_cuda()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.synchronizeStream(guard.getStream(device));
}

}  // namespace

bool LinearImpl::runs_inference() const { return !is_training() && !at::GradMode::is_enabled(); }

Tensor LinearImpl::forward_quantized(const SharedInput& input) const {
  const Tensor& value = input.value();
  if (value.scalar_type() != compute_dtype_) {
    return forward_quantized(SharedInput(value.to(compute_dtype_)));
  }
  const bool quantizes_input = spec_->quantizes_activations();
  // Under autocast the weight's values are those of its own dtype, then rounded.
  if (!runs_inference() || ops::matmul_dtype(value) != compute_dtype_) {
    return at::linear(quantizes_input ? input.fake_quantized() : value, effective_weight(), bias);
  }
  if (quantizes_input && value.is_cpu()) {
    const SharedInput::Quantized& x = input.quantized();
    return ops::int8_linear(x.codes, x.scales, x.zeros, packed_weight, scales, optional(bias),
                            compute_dtype_);
  }
  return ops::quantized_linear(quantizes_input ? input.fake_quantized() : value, packed_weight,
                               scales, optional(zeros), bias, is_symmetric(*spec_));
}

Tensor LinearImpl::forward_int8(const Tensor& input) const {
  const Tensor x = input.to(compute_dtype_);
  if (!runs_inference() || ops::matmul_dtype(x) != compute_dtype_) {
    return at::linear(x, effective_weight(), bias);
  }
  return ops::int8_weight_linear(x, int8_weight.codes, int8_weight.scales, optional(bias));
}

Tensor LinearImpl::effective_weight() const {
  switch (state_) {
    case LinearState::kFullPrecision:
      return weight;
    case LinearState::kFakeQuantized:
      return weight_fake_quant_
                 ? ops::fake_quantize_weight(weight, spec_->group_size, is_symmetric(*spec_),
                                             spec_->scale_dtype)
                 : weight;
    case LinearState::kInt8:
      return int8_weight.dequantize(compute_dtype_);
    case LinearState::kQuantized:
      return ops::dequantize_packed_weight(packed_weight, scales, optional(zeros),
                                           options.in_features(), is_symmetric(*spec_),
                                           compute_dtype_);
  }
  fail("nn::Linear is in no known state");
}

Tensor LinearImpl::codes() const {
  NIBBLE_CHECK(state_ == LinearState::kQuantized, "only a quantized Linear has codes");
  return ops::unpack_int4(packed_weight, options.in_features(), is_symmetric(*spec_));
}

void LinearImpl::convert() {
  NIBBLE_CHECK(state_ == LinearState::kFakeQuantized,
               "convert() needs a prepared (fake-quantized) Linear");
  torch::NoGradGuard no_grad;
  NIBBLE_CHECK(weight.isfinite().all().item<bool>(),
               "the weight holds NaN or infinite values, which no int4 code stands for");
  auto [codes, scale, zero] =
      ops::quantize_weight(weight, spec_->group_size, is_symmetric(*spec_), spec_->scale_dtype);
  load_quantized(*spec_, ops::pack_int4(codes, is_symmetric(*spec_)), scale,
                 is_symmetric(*spec_) ? Tensor() : zero, weight.scalar_type());
}

void LinearImpl::load_quantized(const QuantizationSpec& requested, Tensor packed, Tensor scale,
                                Tensor zero, at::ScalarType compute_dtype) {
  NIBBLE_CHECK(state_ != LinearState::kQuantized, "this Linear is quantized already");
  const QuantizationSpec spec = check_spec(requested, options.in_features());
  const auto rows = options.out_features();
  const std::vector<int64_t> packed_shape{rows, numerics::packed_row_bytes(options.in_features())};
  const std::vector<int64_t> scale_shape{rows, options.in_features() / spec.group_size};
  NIBBLE_CHECK(packed.sizes() == packed_shape && packed.scalar_type() == at::kByte,
               "packed_weight must be uint8 ", at::IntArrayRef(packed_shape), ", got ",
               c10::toString(packed.scalar_type()), " ", packed.sizes());
  NIBBLE_CHECK(scale.sizes() == scale_shape && scale.scalar_type() == spec.scale_dtype,
               "scales must be ", c10::toString(spec.scale_dtype), " ",
               at::IntArrayRef(scale_shape), ", got ", c10::toString(scale.scalar_type()), " ",
               scale.sizes());
  NIBBLE_CHECK(is_symmetric(spec) != zero.defined(),
               "zeros belong to the asymmetric grid and to no other");
  spec_ = spec;
  state_ = LinearState::kQuantized;
  compute_dtype_ = compute_dtype;
  drop_weight();
  wait_for(packed.device());
  register_quantized_buffers(std::move(packed), std::move(scale), std::move(zero));
}

void LinearImpl::register_quantized_buffers(Tensor packed, Tensor scale, Tensor zero) {
  packed_weight = register_buffer("packed_weight", std::move(packed));
  scales = register_buffer("scales", std::move(scale));
  if (zero.defined()) zeros = register_buffer("zeros", std::move(zero));
}

void LinearImpl::load_int8(Int8Weight stored, at::ScalarType compute_dtype) {
  NIBBLE_CHECK(state_ == LinearState::kFullPrecision,
               "only a Linear in full precision can take an int8 weight");
  stored.check("the int8 weight of a Linear", options.out_features(), options.in_features());
  state_ = LinearState::kInt8;
  compute_dtype_ = compute_dtype;
  drop_weight();
  register_int8_buffers(std::move(stored));
}

void LinearImpl::register_int8_buffers(Int8Weight stored) {
  int8_weight.codes = register_buffer("int8_weight", std::move(stored.codes));
  int8_weight.scales = register_buffer("int8_scales", std::move(stored.scales));
}

void LinearImpl::drop_weight() {
  parameters_.erase("weight");
  weight = Tensor();
}

}  // namespace nibble::nn
