#pragma once

#include <nibble/kernels/cpu_isa.h>

#include <functional>
#include <string>

namespace nibble::tests {

/// One implementation of the kernels, applied to whole matrices in host memory.
struct KernelSet {
  std::string name;
  std::function<void(const kernels::FakeQuantParams&)> fake_quantize;
  std::function<void(const kernels::FakeQuantBackwardParams&)> fake_quantize_backward;
  std::function<void(const kernels::DequantizeParams&)> dequantize;
};

/// The executable specification, kernels/reference.
KernelSet reference_kernels();

/// kernels/cpu for one instruction set, which must be supported.
KernelSet cpu_kernels(kernels::CpuIsa isa);

}  // namespace nibble::tests
