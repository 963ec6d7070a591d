#include "support/kernel_set.h"

#include "reference/fake_quant.h"

namespace nibble::tests {

KernelSet reference_kernels() {
  namespace reference = kernels::reference;
  return {
      "reference",
      [](const auto& p) { reference::fake_quantize(p, 0, p.matrix.rows); },
      [](const auto& p) { reference::fake_quantize_backward(p, 0, p.matrix.rows); },
      [](const auto& p) { reference::dequantize(p, 0, p.matrix.rows); },
  };
}

KernelSet cpu_kernels(kernels::CpuIsa isa) {
  return {
      std::string(kernels::name_of(isa)),
      [isa](const auto& p) { kernels::fake_quantize_cpu(p, 0, p.matrix.rows, isa); },
      [isa](const auto& p) { kernels::fake_quantize_backward_cpu(p, 0, p.matrix.rows, isa); },
      [isa](const auto& p) { kernels::dequantize_cpu(p, 0, p.matrix.rows, isa); },
  };
}

}  // namespace nibble::tests
