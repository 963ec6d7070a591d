#pragma once

#include <nibble/nn/int8_weight.h>
#include <nibble/nn/quantization_spec.h>

#include <c10/core/TensorOptions.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <optional>
#include <ostream>

namespace nibble::nn {

/// A token embedding whose weight a Linear may share (a tied lm_head). A quantizer that quantizes
/// both uses switches it in place to look-ups of fq(W). A group lies within a row, so only the rows
/// looked up are fake-quantized. For inference it may keep its weight as int8.
class EmbeddingImpl : public torch::nn::Cloneable<EmbeddingImpl> {
 public:
  /// Takes over `weight` [rows, features]. The row `padding_id` gets no gradient.
  explicit EmbeddingImpl(torch::Tensor weight, std::optional<int64_t> padding_id = std::nullopt);
  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// `ids` [...] int64 gives [..., features]. Throws Error for an id outside the rows (on the CPU;
  /// on a GPU the check would wait for the device).
  torch::Tensor forward(const torch::Tensor& ids) const;

  /// How the weight is fake-quantized; empty in full precision.
  const std::optional<QuantizationSpec>& spec() const { return spec_; }
  /// Look-ups give rows of fq(W), the straight-through gradient reaches the weight. The parameter
  /// stays the same object. Throws Error when `spec` does not fit the features.
  void prepare(const QuantizationSpec& spec);
  /// Fake-quantized -> full precision with the values of fq(W) in a parameter of its own, which
  /// gives the same look-ups. Throws Error in any other state.
  void convert();
  /// Full precision -> int8 with a stored weight, which a Linear may share; only the rows looked up
  /// are dequantized, in `compute_dtype`. Throws Error when the weight does not fit.
  void load_int8(Int8Weight stored, at::ScalarType compute_dtype);
  bool is_int8() const { return int8_weight.defined(); }
  int64_t rows() const;
  int64_t features() const;
  /// Dtype and device of look-ups.
  at::TensorOptions output_options() const;

  /// Turns fake quantization on and off; no effect in full precision.
  void set_fake_quant_enabled(bool enabled) { fake_quant_ = enabled; }
  bool fake_quant_enabled() const { return spec_.has_value() && fake_quant_; }

  // torch::nn::Module's conversions touch every buffer; codes and scales must keep their dtype.
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  torch::Tensor weight;    ///< [rows, features]; undefined once int8
  Int8Weight int8_weight;  ///< [rows, features]; undefined in full precision

 private:
  torch::Tensor fake_quantize(const torch::Tensor& values) const;
  void register_int8_buffers(Int8Weight stored);

  std::optional<int64_t> padding_id_;
  std::optional<QuantizationSpec> spec_;
  bool fake_quant_ = true;
  at::ScalarType compute_dtype_ = at::kFloat;
};
TORCH_MODULE(Embedding);

}  // namespace nibble::nn
