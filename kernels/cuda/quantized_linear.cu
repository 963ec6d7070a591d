#include <nibble/kernels/quantized_linear_cuda.h>

#include "device/int4_products.cuh"
#include "launch.h"
#include "quantized_linear_stream.h"
#include "quantized_linear_warpgroups.h"

namespace nibble::kernels {
namespace {

bool share_columns(const QuantizedLinearParams& a, const QuantizedLinearParams& b) {
  return a.input == b.input && a.tokens == b.tokens && a.weight.cols == b.weight.cols &&
         a.weight.grid == b.weight.grid && a.weight.dtype == b.weight.dtype &&
         a.weight.scale_dtype == b.weight.scale_dtype && a.weight.group_size == b.weight.group_size;
}

}  // namespace

bool can_run_quantized_linear(const QuantizedLinearParams& p) {
  const GroupedMatrix& m = p.weight;
  return m.grid != GridKind::kAsymmetricInt8 && m.dtype != DType::kFloat32 && m.rows > 0 &&
         m.cols > 0 && m.group_size % cuda::kUnit == 0 &&
         m.rows * m.cols < int64_t{cuda::kUnit} << 32 && p.tokens >= 1 &&
         cuda::is_aligned(p.packed_codes, 16) && cuda::is_aligned(p.scales, 16) &&
         cuda::is_aligned(p.zeros, 16) && cuda::is_aligned(p.input, 16) &&
         (cuda::can_run_stream(p) || cuda::can_run_warpgroups(p));
}

bool can_run_quantized_linears(const QuantizedLinearParams* params, int64_t count) {
  if (count < 1 || count > kMostSharedProducts) return false;
  return std::all_of(params, params + count, [&](const QuantizedLinearParams& other) {
    return can_run_quantized_linear(other) && share_columns(*params, other);
  });
}

void quantized_linears_cuda(const QuantizedLinearParams* params, int64_t count,
                            CUstream_st* stream) {
  const GroupedMatrix& weight = params->weight;
  NIBBLE_CHECK(can_run_quantized_linears(params, count), "quantized_linears_cuda does not take ",
               count, " products of ", params->tokens, " tokens, the first weight [", weight.rows,
               ", ", weight.cols, "] in groups of ", weight.group_size);
  if (cuda::can_run_stream(*params)) {
    cuda::quantized_linears_stream(params, count, /*source=*/{}, stream);
    return;
  }
  for (int64_t i = 0; i < count; ++i) cuda::quantized_linear_warpgroups(params[i], stream);
}

bool can_run_quantized_linears(const TokenSource& source, const QuantizedLinearParams* params,
                               int64_t count) {
  const InputNorm& norm = source.norm;
  const InputGate& gate = source.gate;
  const auto aligned = [](const void* address) { return cuda::is_aligned(address, 16); };
  return source.is_given() && aligned(norm.residual) && aligned(norm.update) &&
         aligned(norm.weight) && aligned(norm.sum) && aligned(gate.gate) && aligned(gate.up) &&
         can_run_quantized_linears(params, count) &&
         std::all_of(params, params + count, [&](const QuantizedLinearParams& product) {
           return cuda::can_run_stream(product, source);
         });
}

void quantized_linears_cuda(const TokenSource& source, const QuantizedLinearParams* params,
                            int64_t count, CUstream_st* stream) {
  const GroupedMatrix& weight = params->weight;
  NIBBLE_CHECK(can_run_quantized_linears(source, params, count),
               "quantized_linears_cuda makes no input for ", count, " products of ", params->tokens,
               " tokens, the first weight [", weight.rows, ", ", weight.cols, "] in groups of ",
               weight.group_size);
  cuda::quantized_linears_stream(params, count, source, stream);
}

void quantized_linear_cuda(const QuantizedLinearParams& params, CUstream_st* stream) {
  quantized_linears_cuda(&params, 1, stream);
}

}  // namespace nibble::kernels
