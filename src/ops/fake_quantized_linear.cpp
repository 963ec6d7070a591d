#include <nibble/core/error.h>
#include <nibble/ops/autocast.h>
#include <nibble/ops/fake_quant.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <utility>

#include "fake_quant_calls.h"
#include "weight_cache.h"

namespace nibble::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct BelowAutogradAndAutocast {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
};

/// fq(W) with what its backward reads.
struct FakeQuantizedWeight {
  Tensor values;
  Quantized quantized;                      ///< without the values
  c10::intrusive_ptr<CachedWeight> cached;  ///< in a CacheScope
};

FakeQuantizedWeight fake_quantize(const Tensor& weight, const WeightQuantization& how,
                                  at::ScalarType dtype, Wanted wanted) {
  FakeQuantizedWeight result;
  WeightCache* cache = WeightCache::current();
  if (cache != nullptr) {
    result.cached = cache->find(weight, how);
    if (result.cached) {
      result.quantized = result.cached->quantized();
      result.values = dequantize_codes(result.quantized, how, weight.scalar_type(), dtype);
      return result;
    }
    // The next use may read what this one does not.
    wanted.packed_codes = true;
    wanted.in_range = weight.requires_grad();
  }
  wanted.values = true;
  wanted.zeros = wanted.packed_codes && !how.symmetric;
  result.quantized = quantize_weight_as(weight, how, dtype, wanted);
  result.values = std::exchange(result.quantized.values, Tensor());
  if (cache != nullptr) result.cached = cache->insert(weight, how, result.quantized);
  return result;
}

void check_operands(const Tensor& x, const Tensor& weight) {
  NIBBLE_CHECK(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1),
               "a fake-quantized Linear with a weight ", weight.sizes(),
               " takes inputs [..., in_features], got ", x.sizes());
  NIBBLE_CHECK(x.scalar_type() == weight.scalar_type() || is_autocast(x), "input is ",
               c10::toString(x.scalar_type()), " and weight ", c10::toString(weight.scalar_type()),
               ": without autocast they must have one dtype");
}

Tensor product(const Tensor& x, const Tensor& fq_weight, const std::optional<Tensor>& bias,
               at::ScalarType dtype) {
  return at::linear(
      cast(x, dtype), fq_weight,
      bias.has_value() && bias->defined() ? std::optional(cast(*bias, dtype)) : std::nullopt);
}

Tensor forward_without_gradient(const Tensor& x, const Tensor& weight,
                                const std::optional<Tensor>& bias, int64_t group_size,
                                bool symmetric, at::ScalarType scale_dtype) {
  check_operands(x, weight);
  const at::ScalarType dtype = matmul_dtype(x);
  const BelowAutogradAndAutocast guard;
  const WeightQuantization how{group_size, symmetric, scale_dtype};
  return product(x, fake_quantize(weight, how, dtype, {}).values, bias, dtype);
}

struct FakeQuantizedLinear : torch::autograd::Function<FakeQuantizedLinear> {
  // Edges of backward, in the order of the arguments.
  static constexpr size_t kX = 0, kWeight = 1, kBias = 2;

  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias, const WeightQuantization& how,
                        at::ScalarType dtype) {
    const BelowAutogradAndAutocast guard;
    FakeQuantizedWeight fq =
        fake_quantize(weight, how, dtype,
                      {.packed_codes = x.requires_grad(), .in_range = weight.requires_grad()});
    const Tensor input = cast(x, dtype);
    ctx->save_for_backward({weight.requires_grad() ? input : Tensor(),
                            x.requires_grad() ? fq.quantized.packed_codes : Tensor(),
                            fq.quantized.scales, fq.quantized.zeros,
                            weight.requires_grad() ? fq.quantized.in_range : Tensor()});
    auto& data = ctx->saved_data;
    data["group_size"] = how.group_size;
    data["symmetric"] = how.symmetric;
    data["weight_dtype"] = weight.scalar_type();
    data["x_sizes"] = x.sizes();
    data["x_dtype"] = x.scalar_type();
    if (bias.has_value() && bias->defined()) data["bias_dtype"] = bias->scalar_type();
    if (fq.cached) {
      data["cached"] =
          c10::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(fq.cached));
    }
    return product(input, fq.values, bias, dtype);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward();
    const BelowAutogradAndAutocast guard;
    const Saved saved(*ctx);
    const Tensor grad = grads[0].reshape({-1, grads[0].size(-1)});
    variable_list result(5);
    if (ctx->needs_input_grad(kX)) result[kX] = saved.gradient_of_x(grad);
    if (ctx->needs_input_grad(kWeight)) result[kWeight] = saved.gradient_of_weight(grad);
    if (saved.bias_dtype.has_value() && ctx->needs_input_grad(kBias)) {
      result[kBias] = cast(grad.sum(0), *saved.bias_dtype);
    }
    return result;
  }

 private:
  struct Saved {
    explicit Saved(AutogradContext& ctx) {
      const variable_list tensors = ctx.get_saved_variables();
      auto& data = ctx.saved_data;
      x = tensors[0];
      quantized = {.packed_codes = tensors[1],
                   .scales = tensors[2],
                   .zeros = tensors[3],
                   .in_range = tensors[4]};
      how = {data["group_size"].toInt(), data["symmetric"].toBool(),
             quantized.scales.scalar_type()};
      weight_dtype = data["weight_dtype"].toScalarType();
      x_sizes = data["x_sizes"].toIntVector();
      x_dtype = data["x_dtype"].toScalarType();
      if (data.count("bias_dtype") > 0) bias_dtype = data["bias_dtype"].toScalarType();
      if (data.count("cached") > 0) {
        cached = c10::static_intrusive_pointer_cast<CachedWeight>(data["cached"].toCapsule());
      }
    }

    Tensor gradient_of_x(const Tensor& grad) const {
      const Tensor fq_weight = dequantize_codes(quantized, how, weight_dtype, grad.scalar_type());
      return cast(at::mm(grad, fq_weight).view(x_sizes), x_dtype);
    }

    /// Undefined where a CacheScope takes it.
    Tensor gradient_of_weight(const Tensor& grad) const {
      const Tensor input = x.reshape({-1, x.size(-1)});
      if (cached && cached->accumulate(grad, input)) return {};
      const Tensor gradient = at::mm(grad.t(), input);
      return straight_through(gradient, weight_matrix(gradient.sizes(), weight_dtype, how),
                              quantized.scales, quantized.in_range, /*may_overwrite=*/true);
    }

    Tensor x;
    Quantized quantized;
    WeightQuantization how;
    at::ScalarType weight_dtype;
    std::vector<int64_t> x_sizes;
    at::ScalarType x_dtype;
    std::optional<at::ScalarType> bias_dtype;
    c10::intrusive_ptr<CachedWeight> cached;
  };
};

Tensor autograd_forward(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                        int64_t group_size, bool symmetric, at::ScalarType scale_dtype) {
  const auto trains = [](const Tensor& tensor) {
    return tensor.defined() && tensor.requires_grad();
  };
  if (at::GradMode::is_enabled() &&
      (trains(x) || trains(weight) || (bias.has_value() && trains(*bias)))) {
    check_operands(x, weight);
    return FakeQuantizedLinear::apply(
        x, weight, bias, WeightQuantization{group_size, symmetric, scale_dtype}, matmul_dtype(x));
  }
  return forward_without_gradient(x, weight, bias, group_size, symmetric, scale_dtype);
}

}  // namespace

Tensor fake_quantized_linear(const Tensor& x, const Tensor& weight,
                             const std::optional<Tensor>& bias, int64_t group_size, bool symmetric,
                             at::ScalarType scale_dtype) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("nibble::fake_quantized_linear", "")
          .typed<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, int64_t, bool,
                        at::ScalarType)>();
  return op.call(x, weight, bias, group_size, symmetric, scale_dtype);
}

TORCH_LIBRARY_IMPL(nibble, CPU, library) {
  library.impl("fake_quantized_linear", forward_without_gradient);
}
TORCH_LIBRARY_IMPL(nibble, CUDA, library) {
  library.impl("fake_quantized_linear", forward_without_gradient);
}
TORCH_LIBRARY_IMPL(nibble, Meta, library) {
  library.impl("fake_quantized_linear", forward_without_gradient);
}
TORCH_LIBRARY_IMPL(nibble, Autograd, library) {
  library.impl("fake_quantized_linear", autograd_forward);
}

}  // namespace nibble::ops
