#include <nibble/core/error.h>
#include <nibble/nn/embedding.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/ops/int8_weight_linear.h>

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

void EmbeddingImpl::reset() {
  if (is_int8()) {
    register_int8_buffers({at::empty_like(int8_weight.codes), at::empty_like(int8_weight.scales)});
    return;
  }
  weight = register_parameter("weight", at::empty_like(weight));
}

void EmbeddingImpl::pretty_print(std::ostream& stream) const {
  stream << "nibble::nn::Embedding(" << rows() << ", " << features();
  if (spec_.has_value()) stream << ", fake-quantized " << to_string(*spec_);
  if (is_int8()) stream << ", int8";
  stream << ")";
}

int64_t EmbeddingImpl::rows() const { return (is_int8() ? int8_weight.codes : weight).size(0); }
int64_t EmbeddingImpl::features() const { return (is_int8() ? int8_weight.codes : weight).size(1); }

at::TensorOptions EmbeddingImpl::output_options() const {
  return is_int8() ? int8_weight.codes.options().dtype(compute_dtype_)
                   : weight.options().requires_grad(false);
}

Tensor EmbeddingImpl::forward(const Tensor& ids) const {
  if (ids.is_cpu() && ids.numel() > 0) {
    const auto [lowest, highest] = at::aminmax(ids);
    NIBBLE_CHECK(lowest.item<int64_t>() >= 0 && highest.item<int64_t>() < rows(),
                 "token ids run from ", lowest.item<int64_t>(), " to ", highest.item<int64_t>(),
                 ", the model's vocabulary from 0 to ", rows() - 1);
  }
  if (is_int8()) {
    return ops::int8_embedding(int8_weight.codes, int8_weight.scales, ids.to(at::kLong),
                               compute_dtype_);
  }
  constexpr int64_t kNoPadding = -1;
  const Tensor values = at::embedding(weight, ids, padding_id_.value_or(kNoPadding));
  if (!fake_quant_enabled()) return values;
  return fake_quantize(values.reshape({ids.numel(), features()})).view(values.sizes());
}

Tensor EmbeddingImpl::fake_quantize(const Tensor& values) const {
  return ops::fake_quantize_weight(values, spec_->group_size, spec_->grid == WeightGrid::kSymmetric,
                                   spec_->scale_dtype);
}

void EmbeddingImpl::prepare(const QuantizationSpec& spec) {
  NIBBLE_CHECK(!is_int8(),
               "an int8 embedding cannot be prepared: its full-precision weight is gone");
  spec_ = check_spec(spec, features());
  fake_quant_ = true;
}

void EmbeddingImpl::convert() {
  NIBBLE_CHECK(spec_.has_value(), "convert() needs a prepared (fake-quantized) embedding");
  const bool trains = weight.requires_grad();
  weight = fake_quantize(weight.detach()).set_requires_grad(trains);
  parameters_["weight"] = weight;
  spec_.reset();
}

void EmbeddingImpl::load_int8(Int8Weight stored, at::ScalarType compute_dtype) {
  NIBBLE_CHECK(weight.defined() && !spec_.has_value(),
               "only an embedding in full precision can take an int8 weight");
  stored.check("the int8 weight of an embedding", rows(), features());
  compute_dtype_ = compute_dtype;
  parameters_.erase("weight");
  weight = Tensor();
  register_int8_buffers(std::move(stored));
}

void EmbeddingImpl::register_int8_buffers(Int8Weight stored) {
  int8_weight.codes = register_buffer("int8_weight", std::move(stored.codes));
  int8_weight.scales = register_buffer("int8_scales", std::move(stored.scales));
}

void EmbeddingImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  to(device, non_blocking);
  to(dtype, non_blocking);
}

void EmbeddingImpl::to(torch::Dtype dtype, bool non_blocking) {
  if (is_int8()) {
    compute_dtype_ = dtype;
  } else {
    Module::to(dtype, non_blocking);
  }
}

void EmbeddingImpl::to(torch::Device device, bool non_blocking) {
  Module::to(device, non_blocking);
}

}  // namespace nibble::nn
