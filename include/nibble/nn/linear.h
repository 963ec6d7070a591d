#pragma once

#include <nibble/nn/int8_weight.h>
#include <nibble/nn/quantization_spec.h>
#include <nibble/nn/shared_input.h>

#include <torch/nn/cloneable.h>
#include <torch/nn/options/linear.h>
#include <torch/nn/pimpl.h>

#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace nibble::nn {

/// What a Linear computes with.
enum class LinearState {
  kFullPrecision,  ///< y = x W^T + b
  kFakeQuantized,  ///< y = fq(x) fq(W)^T + b, trainable; the state dict is that of the plain Linear
  kQuantized,      ///< the same y from int4 codes and scales; `weight` is gone. In evaluation mode
                   ///< without gradients from the codes themselves, close to it: docs/numerics.md
  kInt8,           ///< y = x W^T + b with W kept as int8 (nn::Int8Weight); `weight` is gone
};

/// A drop-in for torch::nn::Linear (same options, same parameter names) that a quantizer switches
/// in place between full precision, fake quantization and real int4, so that members of type
/// nibble::nn::Linear stay valid through prepare() and convert().
class LinearImpl : public torch::nn::Cloneable<LinearImpl> {
 public:
  LinearImpl(int64_t in_features, int64_t out_features)
      : LinearImpl(torch::nn::LinearOptions(in_features, out_features)) {}
  explicit LinearImpl(const torch::nn::LinearOptions& options);
  /// Takes over existing parameters: `weight` [out, in], `bias` [out] or undefined.
  LinearImpl(torch::Tensor weight, torch::Tensor bias);

  void reset() override;
  /// The initialization of torch::nn::Linear. Throws Error where the weight is gone.
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  /// `input` [..., in_features] gives [..., out_features], any rank from 1, empty batches too.
  torch::Tensor forward(const torch::Tensor& input);
  /// The same for an input that other Linears read too.
  torch::Tensor forward_shared(const SharedInput& input);
  /// The outputs of several Linears for one input. Quantized ones of one spec run inference on CUDA
  /// in one launch.
  static std::vector<torch::Tensor> forward_together(c10::ArrayRef<LinearImpl*> linears,
                                                     const SharedInput& input);

  LinearState state() const { return state_; }
  /// How it is (fake-)quantized; empty in full precision.
  const std::optional<QuantizationSpec>& spec() const { return spec_; }

  /// Full precision or fake-quantized -> fake-quantized, both parts on. The parameters stay the
  /// same objects. Throws Error when `spec` does not fit in_features or the module is quantized.
  void prepare(const QuantizationSpec& spec);
  /// Fake-quantized -> quantized: stores the codes and scales that fq(W) uses. Throws Error in any
  /// other state, or when the weight holds a NaN or an infinity.
  void convert();
  /// Full precision -> quantized with stored parameters; shapes and dtypes as of the members below.
  /// `compute_dtype` is the dtype of dequantized weights and of the output.
  void load_quantized(const QuantizationSpec& spec, torch::Tensor packed_weight,
                      torch::Tensor scales, torch::Tensor zeros, at::ScalarType compute_dtype);
  /// Full precision -> int8 with a stored weight, which other modules may share. `compute_dtype` as
  /// above. Throws Error when the weight does not fit.
  void load_int8(Int8Weight stored, at::ScalarType compute_dtype);

  /// Replaces a parameter that other modules share by a copy of its own.
  void untie_weight();

  /// Turns fake quantization on and off (state kFakeQuantized; elsewhere no effect). Off means
  /// exactly the full-precision forward and backward.
  void set_fake_quant_enabled(bool activations, bool weight);
  bool activation_fake_quant_enabled() const;
  bool weight_fake_quant_enabled() const;

  /// fq(W) as the forward uses it, differentiable; dequantized codes in the states kQuantized and
  /// kInt8.
  torch::Tensor effective_weight() const;
  /// int8 [out, in] codes of a quantized module (-8..7 symmetric, 0..15 asymmetric).
  torch::Tensor codes() const;
  /// Of the outputs, where the weight is gone.
  at::ScalarType compute_dtype() const { return compute_dtype_; }
  /// Bytes of the stored parameters and buffers.
  int64_t storage_bytes() const;

  // torch::nn::Module's conversions touch every buffer; codes and scales must keep their dtype.
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;
  /// A quantized module also stores its spec and compute dtype, and load() checks them.
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  torch::nn::LinearOptions options;
  torch::Tensor weight;         ///< [out, in]; undefined in the states kQuantized and kInt8
  torch::Tensor bias;           ///< [out] or undefined
  torch::Tensor packed_weight;  ///< uint8 [out, ceil(in / 2)], numerics/pack_int4.h
  torch::Tensor scales;         ///< spec.scale_dtype [out, in / group_size]
  torch::Tensor zeros;          ///< like scales; defined for the asymmetric grid only
  Int8Weight int8_weight;       ///< [out, in]; undefined but in state kInt8

 protected:
  LinearState state_ = LinearState::kFullPrecision;
  std::optional<QuantizationSpec> spec_;

 private:
  void register_bias(torch::Tensor value);
  void register_quantized_buffers(torch::Tensor packed, torch::Tensor scale, torch::Tensor zero);
  void register_int8_buffers(Int8Weight stored);
  void drop_weight();
  torch::Tensor forward_quantized(const SharedInput& input) const;
  torch::Tensor forward_int8(const torch::Tensor& input) const;
  /// How a weight that is gone is stored, for messages and archives.
  std::string stored_kind() const;
  std::string archived_kind() const;
  bool runs_inference() const;
  /// Whether one launch can serve this Linear and `other`.
  bool computes_like(const LinearImpl& other) const;

  bool activation_fake_quant_ = true;
  bool weight_fake_quant_ = true;
  at::ScalarType compute_dtype_ = at::kFloat;
};
TORCH_MODULE(Linear);

}  // namespace nibble::nn
