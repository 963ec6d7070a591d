#include <nibble/core/error.h>
#include <nibble/ops/decode.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/Functions.h>
#include <torch/library.h>

#include "decode_checks.h"
#include "find_operator.h"
#include "int4_operands.h"
#include "launch.h"
#include "product.h"

// Several products of one input (decode.h).
namespace nibble::ops {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

std::vector<Tensor> one_by_one(const Tensor& x, at::TensorList packed, at::TensorList scales,
                               at::TensorList zeros, bool symmetric) {
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < packed.size(); ++i) {
    outputs.push_back(quantized_linear(x, packed[i], scales[i],
                                       symmetric ? OptionalTensor() : OptionalTensor(zeros[i]), {},
                                       symmetric));
  }
  return outputs;
}

void check_lists(at::TensorList packed, at::TensorList scales, at::TensorList zeros,
                 bool symmetric) {
  NIBBLE_CHECK(!packed.empty() && scales.size() == packed.size() &&
                   zeros.size() == (symmetric ? 0 : packed.size()),
               "quantized_linears takes a packed weight, scales and, on the asymmetric grid, zeros "
               "for each product; got ",
               packed.size(), ", ", scales.size(), " and ", zeros.size());
}

std::vector<Tensor> quantized_linears_any(const Tensor& x, at::TensorList packed,
                                          at::TensorList scales, at::TensorList zeros,
                                          bool symmetric) {
  check_lists(packed, scales, zeros, symmetric);
  return one_by_one(x, packed, scales, zeros, symmetric);
}

/// Several products of one input as the kernels want them.
class SharedProducts {
 public:
  SharedProducts(const Tensor& x, at::TensorList packed, at::TensorList scales,
                 at::TensorList zeros, bool symmetric)
      : input_(x.contiguous()) {
    check_lists(packed, scales, zeros, symmetric);
    for (size_t i = 0; i < packed.size(); ++i) {
      operands_.emplace_back(input_, packed[i], scales[i],
                             symmetric ? OptionalTensor() : OptionalTensor(zeros[i]), symmetric);
      params_.push_back(operands_.back().params);
    }
  }

  bool fit_in_one_launch() const {
    return kernels::can_run_quantized_linears(params_.data(), count());
  }
  bool fit_in_one_launch(const kernels::TokenSource& source) const {
    return kernels::can_run_quantized_linears(source, params_.data(), count());
  }

  std::vector<Tensor> make_outputs() {
    std::vector<Tensor> outputs;
    for (auto& product : params_) {
      outputs.push_back(empty_product(input_, product.weight.rows, input_.scalar_type()));
      product.output = outputs.back().mutable_data_ptr();
    }
    return outputs;
  }

  std::vector<kernels::QuantizedLinearParams>& params() { return params_; }
  int64_t count() const { return static_cast<int64_t>(params_.size()); }

 private:
  Tensor input_;
  std::vector<Int4Operands> operands_;
  std::vector<kernels::QuantizedLinearParams> params_;
};

std::vector<Tensor> quantized_linears_cuda(const Tensor& x, at::TensorList packed,
                                           at::TensorList scales, at::TensorList zeros,
                                           bool symmetric) {
  SharedProducts products(x, packed, scales, zeros, symmetric);
  if (!products.fit_in_one_launch()) return one_by_one(x, packed, scales, zeros, symmetric);
  const std::vector<Tensor> outputs = products.make_outputs();
  launch_cuda(products.params().data(), products.count(), x.device());
  return outputs;
}

using NormedProducts = std::tuple<Tensor, std::vector<Tensor>>;

NormedProducts norm_quantized_linears_any(const Tensor& residual, const OptionalTensor& update,
                                          const Tensor& weight, double eps, at::TensorList packed,
                                          at::TensorList scales, at::TensorList zeros,
                                          bool symmetric) {
  Tensor sum = is_given(update) ? residual.clone() : residual;
  const Tensor normed = add_rms_norm(sum, update, weight, eps);
  return {sum, quantized_linears(normed, packed, scales, zeros, symmetric)};
}

NormedProducts norm_quantized_linears_cuda(const Tensor& residual, const OptionalTensor& update,
                                           const Tensor& weight, double eps, at::TensorList packed,
                                           at::TensorList scales, at::TensorList zeros,
                                           bool symmetric) {
  check_norm(residual, update, weight);
  SharedProducts products(residual, packed, scales, zeros, symmetric);
  const Tensor contiguous_weight = weight.contiguous();
  const Tensor added = is_given(update) ? update->contiguous() : Tensor();
  const Tensor sum = added.defined() ? at::empty_like(residual) : residual;
  kernels::TokenSource source;
  kernels::InputNorm& norm = source.norm;
  norm.residual = residual.const_data_ptr();
  norm.update = added.defined() ? added.const_data_ptr() : nullptr;
  norm.weight = contiguous_weight.const_data_ptr();
  norm.eps = static_cast<float>(eps);
  norm.sum = added.defined() ? sum.mutable_data_ptr() : nullptr;
  if (!products.fit_in_one_launch(source)) {
    return norm_quantized_linears_any(residual, update, weight, eps, packed, scales, zeros,
                                      symmetric);
  }
  const std::vector<Tensor> outputs = products.make_outputs();
  if (!contiguous_weight.is_same(weight)) products.params().front().weight_is_fresh = true;
  launch_cuda(source, products.params().data(), products.count(), residual.device());
  return {sum, outputs};
}

std::vector<Tensor> gated_quantized_linears_any(const Tensor& gate, const Tensor& up,
                                                at::TensorList packed, at::TensorList scales,
                                                at::TensorList zeros, bool symmetric) {
  return quantized_linears(gated_silu(gate, up), packed, scales, zeros, symmetric);
}

std::vector<Tensor> gated_quantized_linears_cuda(const Tensor& gate, const Tensor& up,
                                                 at::TensorList packed, at::TensorList scales,
                                                 at::TensorList zeros, bool symmetric) {
  check_gate(gate, up);
  SharedProducts products(gate, packed, scales, zeros, symmetric);
  const Tensor a = gate.contiguous(), b = up.contiguous();
  kernels::TokenSource source;
  source.gate.gate = a.const_data_ptr();
  source.gate.up = b.const_data_ptr();
  if (!products.fit_in_one_launch(source)) {
    return gated_quantized_linears_any(gate, up, packed, scales, zeros, symmetric);
  }
  const std::vector<Tensor> outputs = products.make_outputs();
  launch_cuda(source, products.params().data(), products.count(), gate.device());
  return outputs;
}

std::vector<Tensor> quantized_linears_autograd(const Tensor& x, at::TensorList packed,
                                               at::TensorList scales, at::TensorList zeros,
                                               bool symmetric) {
  if (records_gradient(x, {})) return quantized_linears_any(x, packed, scales, zeros, symmetric);
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return quantized_linears(x, packed, scales, zeros, symmetric);
}

}  // namespace

std::vector<Tensor> quantized_linears(const Tensor& x, at::TensorList packed, at::TensorList scales,
                                      at::TensorList zeros, bool symmetric) {
  static const auto op =
      find_operator<std::vector<Tensor>(const Tensor&, at::TensorList, at::TensorList,
                                        at::TensorList, bool)>("nibble::quantized_linears");
  return op.call(x, packed, scales, zeros, symmetric);
}

NormedProducts norm_quantized_linears(const Tensor& residual, const OptionalTensor& update,
                                      const Tensor& weight, double eps, at::TensorList packed,
                                      at::TensorList scales, at::TensorList zeros, bool symmetric) {
  static const auto op =
      find_operator<NormedProducts(const Tensor&, const OptionalTensor&, const Tensor&, double,
                                   at::TensorList, at::TensorList, at::TensorList, bool)>(
          "nibble::norm_quantized_linears");
  return op.call(residual, update, weight, eps, packed, scales, zeros, symmetric);
}

std::vector<Tensor> gated_quantized_linears(const Tensor& gate, const Tensor& up,
                                            at::TensorList packed, at::TensorList scales,
                                            at::TensorList zeros, bool symmetric) {
  static const auto op = find_operator<std::vector<Tensor>(
      const Tensor&, const Tensor&, at::TensorList, at::TensorList, at::TensorList, bool)>(
      "nibble::gated_quantized_linears");
  return op.call(gate, up, packed, scales, zeros, symmetric);
}

TORCH_LIBRARY_FRAGMENT(nibble, library) {
  library.def(
      "quantized_linears(Tensor x, Tensor[] packed, Tensor[] scales, Tensor[] zeros, bool "
      "symmetric) -> Tensor[]");
  library.def(
      "norm_quantized_linears(Tensor(a) residual, Tensor? update, Tensor weight, float eps, "
      "Tensor[] packed, Tensor[] scales, Tensor[] zeros, bool symmetric) -> (Tensor(a), Tensor[])");
  library.def(
      "gated_quantized_linears(Tensor gate, Tensor up, Tensor[] packed, Tensor[] scales, Tensor[] "
      "zeros, bool symmetric) -> Tensor[]");
}
TORCH_LIBRARY_IMPL(nibble, CPU, library) {
  library.impl("quantized_linears", quantized_linears_any);
  library.impl("norm_quantized_linears", norm_quantized_linears_any);
  library.impl("gated_quantized_linears", gated_quantized_linears_any);
}
TORCH_LIBRARY_IMPL(nibble, CUDA, library) {
  library.impl("quantized_linears", quantized_linears_cuda);
  library.impl("norm_quantized_linears", norm_quantized_linears_cuda);
  library.impl("gated_quantized_linears", gated_quantized_linears_cuda);
}
TORCH_LIBRARY_IMPL(nibble, Meta, library) {
  library.impl("quantized_linears", quantized_linears_any);
  library.impl("norm_quantized_linears", norm_quantized_linears_any);
  library.impl("gated_quantized_linears", gated_quantized_linears_any);
}
TORCH_LIBRARY_IMPL(nibble, Autograd, library) {
  library.impl("quantized_linears", quantized_linears_autograd);
}

}  // namespace nibble::ops
