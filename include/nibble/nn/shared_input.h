#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <utility>
#include <vector>

namespace nibble::nn {

/// RMSNorm of residual + update that is still to be computed, as ops::add_rms_norm does it.
struct PendingNorm {
  at::Tensor residual;               ///< [..., n], contiguous
  std::optional<at::Tensor> update;  ///< like residual
  at::Tensor weight;                 ///< [n]
  double eps = 0;
};

/// silu(gate) * up that is still to be computed, as ops::gated_silu does it.
struct PendingGate {
  at::Tensor gate;
  at::Tensor up;
};

/// An input that several Linears share (q/k/v, gate/up): each of its forms is computed at most
/// once. Cheap to make; use it within one forward.
class SharedInput {
 public:
  explicit SharedInput(at::Tensor value) : value_(std::move(value)) {}
  /// What a norm or a gate gives; the products that read it may compute it in their launch. Not
  /// differentiable.
  explicit SharedInput(PendingNorm norm) : norm_(std::move(norm)) {}
  explicit SharedInput(PendingGate gate) : gate_(std::move(gate)) {}

  const at::Tensor& value() const;
  /// Something of the value's shape, dtype and device.
  const at::Tensor& like() const;
  /// For an input that a norm gives: the sum of its residual and update, once the input was used.
  /// May be that residual itself, changed in place.
  const at::Tensor& residual() const { return norm_->residual; }
  /// The value after per-token int8 fake quantization (ops::fake_quantize_activation).
  const at::Tensor& fake_quantized() const;
  /// The codes and parameters of the value (ops::quantize_activation).
  struct Quantized {
    at::Tensor codes, scales, zeros;
  };
  const Quantized& quantized() const;

  /// ops::quantized_linears of the value.
  std::vector<at::Tensor> quantized_linears(at::TensorList packed, at::TensorList scales,
                                            at::TensorList zeros, bool symmetric) const;

 private:
  mutable std::optional<PendingNorm> norm_;
  std::optional<PendingGate> gate_;
  mutable at::Tensor value_;
  mutable at::Tensor fake_quantized_;
  mutable Quantized quantized_;
};

}  // namespace nibble::nn
