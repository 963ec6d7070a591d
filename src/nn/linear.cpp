#include <nibble/core/error.h>
#include <nibble/nn/linear.h>
#include <nibble/ops/autocast.h>
#include <nibble/ops/decode.h>
#include <nibble/ops/fake_quant.h>

#include <torch/nn/functional/linear.h>
#include <torch/nn/init.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <utility>

#include "linear_support.h"

namespace nibble::nn {
namespace {

using torch::Tensor;

constexpr const char* kArchiveKey = "nibble_quantization";

int64_t bytes_of(const Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

torch::nn::LinearOptions options_of(const Tensor& weight, const Tensor& bias) {
  NIBBLE_CHECK(weight.dim() == 2,
               "a Linear's weight must be [out_features, in_features], got rank ", weight.dim());
  return torch::nn::LinearOptions(weight.size(1), weight.size(0)).bias(bias.defined());
}

template <class Convert>
void convert_tensor(Tensor& tensor, const Convert& convert) {
  if (tensor.defined()) tensor.set_data(convert(tensor));
}

}  // namespace

LinearImpl::LinearImpl(const torch::nn::LinearOptions& linear_options) : options(linear_options) {
  reset();
}

LinearImpl::LinearImpl(Tensor existing_weight, Tensor existing_bias)
    : options(options_of(existing_weight, existing_bias)) {
  weight = register_parameter("weight", std::move(existing_weight));
  register_bias(std::move(existing_bias));
}

void LinearImpl::reset() {
  // clone() calls this on an empty copy and then fills what it finds registered.
  if (state_ == LinearState::kInt8) {
    register_int8_buffers(
        {torch::empty_like(int8_weight.codes), torch::empty_like(int8_weight.scales)});
    register_bias(options.bias() ? torch::empty_like(bias) : Tensor());
    return;
  }
  if (state_ == LinearState::kQuantized) {
    register_quantized_buffers(torch::empty_like(packed_weight), torch::empty_like(scales),
                               zeros.defined() ? torch::empty_like(zeros) : Tensor());
    register_bias(options.bias() ? torch::empty_like(bias) : Tensor());
    return;
  }
  weight =
      register_parameter("weight", torch::empty({options.out_features(), options.in_features()}));
  register_bias(options.bias() ? torch::empty(options.out_features()) : Tensor());
  reset_parameters();
}

void LinearImpl::register_bias(Tensor value) {
  // Like torch::nn::Linear: without a bias the name is registered with an undefined tensor.
  const bool trains = value.defined();
  bias = register_parameter("bias", std::move(value), trains);
}

void LinearImpl::reset_parameters() {
  NIBBLE_CHECK(weight.defined(), "a quantized Linear has no parameters to initialize");
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (bias.defined()) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(options.in_features()));
    torch::nn::init::uniform_(bias, -bound, bound);
  }
}

void LinearImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "nibble::nn::Linear(in_features=" << options.in_features()
         << ", out_features=" << options.out_features() << ", bias=" << options.bias();
  if (state_ == LinearState::kFakeQuantized) stream << ", fake-quantized " << to_string(*spec_);
  if (!weight.defined()) stream << ", quantized " << stored_kind();
  stream << ")";
}

Tensor LinearImpl::forward(const Tensor& input) { return forward_shared(SharedInput(input)); }

Tensor LinearImpl::forward_shared(const SharedInput& input) {
  if (state_ == LinearState::kQuantized) return forward_quantized(input);
  if (state_ == LinearState::kInt8) return forward_int8(input.value());
  const Tensor& x = activation_fake_quant_enabled() ? input.fake_quantized() : input.value();
  if (weight_fake_quant_enabled()) {
    return ops::fake_quantized_linear(x, weight, bias, spec_->group_size, is_symmetric(*spec_),
                                      spec_->scale_dtype);
  }
  return at::linear(x, effective_weight(), bias);
}

std::vector<Tensor> LinearImpl::forward_together(c10::ArrayRef<LinearImpl*> linears,
                                                 const SharedInput& input) {
  const Tensor& like = input.like();
  const LinearImpl& first = *linears.front();
  const bool in_one_launch =
      like.is_cuda() &&
      std::all_of(linears.begin(), linears.end(),
                  [&](const LinearImpl* linear) {
                    return linear->state_ == LinearState::kQuantized &&
                           linear->computes_like(first) && linear->runs_inference();
                  }) &&
      like.scalar_type() == first.compute_dtype_ && ops::matmul_dtype(like) == first.compute_dtype_;
  std::vector<Tensor> outputs;
  if (!in_one_launch) {
    for (LinearImpl* linear : linears) outputs.push_back(linear->forward_shared(input));
    return outputs;
  }
  std::vector<Tensor> packed, scales, zeros;
  for (const LinearImpl* linear : linears) {
    packed.push_back(linear->packed_weight);
    scales.push_back(linear->scales);
    if (linear->zeros.defined()) zeros.push_back(linear->zeros);
  }
  const bool symmetric = is_symmetric(*first.spec_);
  outputs = first.spec_->quantizes_activations()
                ? ops::quantized_linears(input.fake_quantized(), packed, scales, zeros, symmetric)
                : input.quantized_linears(packed, scales, zeros, symmetric);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (linears[i]->bias.defined()) outputs[i].add_(linears[i]->bias);
  }
  return outputs;
}

bool LinearImpl::computes_like(const LinearImpl& other) const {
  return spec_ == other.spec_ && compute_dtype_ == other.compute_dtype_;
}

int64_t LinearImpl::storage_bytes() const {
  return bytes_of(weight) + bytes_of(bias) + bytes_of(packed_weight) + bytes_of(scales) +
         bytes_of(zeros) + int8_weight.bytes();
}

void LinearImpl::prepare(const QuantizationSpec& spec) {
  NIBBLE_CHECK(weight.defined(),
               "a quantized Linear cannot be prepared: its full-precision weight is gone");
  spec_ = check_spec(spec, options.in_features());
  state_ = LinearState::kFakeQuantized;
  set_fake_quant_enabled(true, true);
}

void LinearImpl::untie_weight() {
  NIBBLE_CHECK(weight.defined(), "a quantized Linear has no weight to untie");
  const bool trains = weight.requires_grad();
  weight = weight.detach().clone().set_requires_grad(trains);
  parameters_["weight"] = weight;
}

void LinearImpl::set_fake_quant_enabled(bool activations, bool weights) {
  activation_fake_quant_ = activations;
  weight_fake_quant_ = weights;
}

bool LinearImpl::activation_fake_quant_enabled() const {
  return state_ == LinearState::kFakeQuantized && spec_->quantizes_activations() &&
         activation_fake_quant_;
}

bool LinearImpl::weight_fake_quant_enabled() const {
  return state_ == LinearState::kFakeQuantized && weight_fake_quant_;
}

void LinearImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  to(device, non_blocking);
  to(dtype, non_blocking);
}

void LinearImpl::to(torch::Dtype dtype, bool non_blocking) {
  if (weight.defined()) {
    Module::to(dtype, non_blocking);
    return;
  }
  compute_dtype_ = dtype;
  convert_tensor(bias, [&](const Tensor& tensor) { return tensor.to(dtype, non_blocking); });
}

void LinearImpl::to(torch::Device device, bool non_blocking) { Module::to(device, non_blocking); }

std::string LinearImpl::stored_kind() const {
  return state_ == LinearState::kInt8
             ? detail::concat("int8, ", int8_weight.scales.size(1), " scales a row")
             : to_string(*spec_);
}

std::string LinearImpl::archived_kind() const {
  return detail::concat(stored_kind(), ", computes in ", c10::toString(compute_dtype_));
}

void LinearImpl::save(torch::serialize::OutputArchive& archive) const {
  Cloneable::save(archive);
  if (!weight.defined()) archive.write(kArchiveKey, c10::IValue(archived_kind()));
}

void LinearImpl::load(torch::serialize::InputArchive& archive) {
  c10::IValue stored;
  const bool stored_quantized = archive.try_read(kArchiveKey, stored);
  NIBBLE_CHECK(stored_quantized == !weight.defined(),
               stored_quantized
                   ? "the archive holds a quantized Linear, this one is not: convert() "
                     "the model before loading"
                   : "the archive holds a full-precision Linear, this one is quantized");
  if (stored_quantized) {
    NIBBLE_CHECK(stored.toStringRef() == archived_kind(), "the archive holds a Linear quantized ",
                 "as '", stored.toStringRef(), "', this one is '", archived_kind(), "'");
  }
  Cloneable::load(archive);
}

}  // namespace nibble::nn
