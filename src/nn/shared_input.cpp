#include <nibble/nn/shared_input.h>
#include <nibble/ops/autocast.h>
#include <nibble/ops/decode.h>
#include <nibble/ops/fake_quant.h>

#include <tuple>

namespace nibble::nn {

using at::Tensor;

const Tensor& SharedInput::value() const {
  if (value_.defined()) return value_;
  if (gate_) {
    value_ = ops::gated_silu(gate_->gate, gate_->up);
  } else {
    value_ = ops::add_rms_norm(norm_->residual, norm_->update, norm_->weight, norm_->eps);
    norm_->update.reset();
  }
  return value_;
}

const Tensor& SharedInput::like() const {
  return value_.defined() ? value_ : gate_ ? gate_->gate : norm_->residual;
}

const Tensor& SharedInput::fake_quantized() const {
  if (!fake_quantized_.defined()) {
    fake_quantized_ = ops::fake_quantize_activation(value(), ops::matmul_dtype(value()));
  }
  return fake_quantized_;
}

const SharedInput::Quantized& SharedInput::quantized() const {
  if (!quantized_.codes.defined()) {
    std::tie(quantized_.codes, quantized_.scales, quantized_.zeros) =
        ops::quantize_activation(value());
  }
  return quantized_;
}

std::vector<Tensor> SharedInput::quantized_linears(at::TensorList packed, at::TensorList scales,
                                                   at::TensorList zeros, bool symmetric) const {
  if (value_.defined()) return ops::quantized_linears(value_, packed, scales, zeros, symmetric);
  if (gate_) {
    return ops::gated_quantized_linears(gate_->gate, gate_->up, packed, scales, zeros, symmetric);
  }
  auto [sum, outputs] = ops::norm_quantized_linears(norm_->residual, norm_->update, norm_->weight,
                                                    norm_->eps, packed, scales, zeros, symmetric);
  norm_->residual = sum;
  norm_->update.reset();
  return outputs;
}

}  // namespace nibble::nn
