#include <nibble/core/error.h>
#include <nibble/nn/embedding.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/Functions.h>

#include <utility>

namespace nibble::nn {

using torch::Tensor;

EmbeddingImpl::EmbeddingImpl(Tensor existing_weight, std::optional<int64_t> padding_id)
    : padding_id_(padding_id) {
  NIBBLE_CHECK(existing_weight.dim() == 2,
               "an embedding's weight must be [rows, features], got rank ", existing_weight.dim());
  weight = register_parameter("weight", std::move(existing_weight));
}

void EmbeddingImpl::reset() { weight = register_parameter("weight", at::empty_like(weight)); }

void EmbeddingImpl::pretty_print(std::ostream& stream) const {
  stream << "nibble::nn::Embedding(" << weight.size(0) << ", " << weight.size(1);
  if (spec_.has_value()) stream << ", fake-quantized " << to_string(*spec_);
  stream << ")";
}

Tensor EmbeddingImpl::forward(const Tensor& ids) const {
  if (ids.is_cpu() && ids.numel() > 0) {
    const auto [lowest, highest] = at::aminmax(ids);
    NIBBLE_CHECK(lowest.item<int64_t>() >= 0 && highest.item<int64_t>() < weight.size(0),
                 "token ids run from ", lowest.item<int64_t>(), " to ", highest.item<int64_t>(),
                 ", the model's vocabulary from 0 to ", weight.size(0) - 1);
  }
  constexpr int64_t kNoPadding = -1;
  const Tensor rows = at::embedding(weight, ids, padding_id_.value_or(kNoPadding));
  if (!fake_quant_enabled()) return rows;
  return fake_quantize(rows.reshape({ids.numel(), weight.size(1)})).view(rows.sizes());
}

Tensor EmbeddingImpl::fake_quantize(const Tensor& rows) const {
  return ops::fake_quantize_weight(rows, spec_->group_size, spec_->grid == WeightGrid::kSymmetric,
                                   spec_->scale_dtype);
}

void EmbeddingImpl::prepare(const QuantizationSpec& spec) {
  spec_ = check_spec(spec, weight.size(1));
  fake_quant_ = true;
}

void EmbeddingImpl::convert() {
  NIBBLE_CHECK(spec_.has_value(), "convert() needs a prepared (fake-quantized) embedding");
  const bool trains = weight.requires_grad();
  weight = fake_quantize(weight.detach()).set_requires_grad(trains);
  parameters_["weight"] = weight;
  spec_.reset();
}

}  // namespace nibble::nn
