#include <nibble/core/error.h>
#include <nibble/ops/decode.h>

#include <ATen/Functions.h>
#include <torch/library.h>

#include "decode_checks.h"
#include "fake_quant_calls.h"
#include "find_operator.h"
#include "launch.h"
#include "product.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

Tensor add_rms_norm_any(Tensor& residual, const OptionalTensor& update, const Tensor& weight,
                        double eps) {
  check_norm(residual, update, weight);
  if (is_given(update)) residual.add_(*update);
  return at::rms_norm(residual, weight.sizes(), weight, eps);
}

Tensor add_rms_norm_cuda(Tensor& residual, const OptionalTensor& update, const Tensor& weight,
                         double eps) {
  check_norm(residual, update, weight);
  const Tensor contiguous_weight = weight.contiguous();
  const Tensor added = is_given(update) ? update->contiguous() : Tensor();
  Tensor output = at::empty_like(residual);
  kernels::AddRmsNormParams params;
  params.dtype = kernel_dtype(residual.scalar_type(), "residual");
  params.cols = residual.size(-1);
  params.rows = params.cols == 0 ? 0 : residual.numel() / params.cols;
  params.residual = residual.mutable_data_ptr();
  params.update = added.defined() ? added.const_data_ptr() : nullptr;
  params.weight = contiguous_weight.const_data_ptr();
  params.eps = static_cast<float>(eps);
  params.output = output.mutable_data_ptr();
  if (!kernels::can_run_add_rms_norm(params)) {
    return add_rms_norm_any(residual, update, weight, eps);
  }
  launch_cuda(params, residual.device());
  return output;
}

Tensor gated_silu_any(const Tensor& gate, const Tensor& up) {
  check_gate(gate, up);
  return at::silu(gate).mul_(up);
}

Tensor gated_silu_cuda(const Tensor& gate, const Tensor& up) {
  check_gate(gate, up);
  const Tensor a = gate.contiguous(), b = up.contiguous();
  Tensor output = at::empty_like(a);
  kernels::GatedSiluParams params;
  params.dtype = kernel_dtype(gate.scalar_type(), "gate");
  params.elements = gate.numel();
  params.gate = a.const_data_ptr();
  params.up = b.const_data_ptr();
  params.output = output.mutable_data_ptr();
  if (!kernels::can_run_gated_silu(params)) return gated_silu_any(gate, up);
  launch_cuda(params, gate.device());
  return output;
}

void check_logits(const Tensor& logits) {
  NIBBLE_CHECK(logits.dim() == 1 && logits.size(0) >= 1, "logits must be [n], got ",
               logits.sizes());
}

Tensor greedy_token_any(const Tensor& logits) {
  check_logits(logits);
  return logits.argmax(/*dim=*/0, /*keepdim=*/true);
}

Tensor greedy_token_cuda(const Tensor& logits) {
  check_logits(logits);
  const Tensor contiguous = logits.contiguous();
  Tensor token = at::empty({1}, logits.options().dtype(at::kLong));
  kernels::GreedyTokenParams params;
  params.dtype = kernel_dtype(logits.scalar_type(), "logits");
  params.count = logits.size(0);
  params.logits = contiguous.const_data_ptr();
  params.token = token.mutable_data_ptr<int64_t>();
  if (!kernels::can_run_greedy_token(params)) return greedy_token_any(logits);
  launch_cuda(params, logits.device());
  return token;
}

}  // namespace

Tensor add_rms_norm(Tensor& residual, const OptionalTensor& update, const Tensor& weight,
                    double eps) {
  static const auto op =
      find_operator<Tensor(Tensor&, const OptionalTensor&, const Tensor&, double)>(
          "nibble::add_rms_norm");
  return op.call(residual, update, weight, eps);
}

Tensor gated_silu(const Tensor& gate, const Tensor& up) {
  static const auto op = find_operator<Tensor(const Tensor&, const Tensor&)>("nibble::gated_silu");
  return op.call(gate, up);
}

Tensor greedy_token(const Tensor& logits) {
  static const auto op = find_operator<Tensor(const Tensor&)>("nibble::greedy_token");
  return op.call(logits);
}

void advance_token(const Tensor& next, const Tensor& token, const Tensor& position,
                   const Tensor& history) {
  for (const Tensor* one : {&next, &token, &position}) {
    NIBBLE_CHECK(
        one->scalar_type() == at::kLong && one->numel() == 1 && one->device() == next.device(),
        "advance_token takes one int64 each on one device, got ", one->scalar_type(), " ",
        one->sizes(), " on ", one->device());
  }
  NIBBLE_CHECK(history.scalar_type() == at::kLong && history.numel() >= 1 &&
                   history.is_contiguous() &&
                   (history.device() == next.device() || history.is_pinned()),
               "history must be contiguous int64 on ", next.device(), " or pinned, got ",
               history.scalar_type(), " ", history.sizes(), " on ", history.device());
  NIBBLE_CHECK(next.is_cpu() || next.is_cuda(), "advance_token runs on the CPU and on CUDA, got ",
               next.device());
  kernels::AdvanceTokenParams params;
  params.next = next.const_data_ptr<int64_t>();
  params.token = token.mutable_data_ptr<int64_t>();
  params.position = position.mutable_data_ptr<int64_t>();
  params.history = history.mutable_data_ptr<int64_t>();
  params.history_size = history.numel();
  if (next.is_cuda()) return launch_cuda(params, next.device());
  *params.token = *params.next;
  params.history[*params.position % params.history_size] = *params.next;
  ++*params.position;
}

TORCH_LIBRARY_FRAGMENT(nibble, library) {
  library.def(
      "add_rms_norm(Tensor(a!) residual, Tensor? update, Tensor weight, float eps) -> Tensor");
  library.def("greedy_token(Tensor logits) -> Tensor");
  library.def("gated_silu(Tensor gate, Tensor up) -> Tensor");
}
TORCH_LIBRARY_IMPL(nibble, CPU, library) {
  library.impl("add_rms_norm", add_rms_norm_any);
  library.impl("gated_silu", gated_silu_any);
  library.impl("greedy_token", greedy_token_any);
}
TORCH_LIBRARY_IMPL(nibble, CUDA, library) {
  library.impl("add_rms_norm", add_rms_norm_cuda);
  library.impl("gated_silu", gated_silu_cuda);
  library.impl("greedy_token", greedy_token_cuda);
}
TORCH_LIBRARY_IMPL(nibble, Meta, library) {
  library.impl("add_rms_norm", add_rms_norm_any);
  library.impl("gated_silu", gated_silu_any);
  library.impl("greedy_token", greedy_token_any);
}

}  // namespace nibble::ops
