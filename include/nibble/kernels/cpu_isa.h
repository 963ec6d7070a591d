#pragma once

#include <nibble/kernels/fake_quant.h>

#include <string_view>

namespace nibble::kernels {

/// Instruction sets with kernels of their own, worst first.
enum class CpuIsa : uint8_t { kPortable, kAvx2, kAvx512 };

inline constexpr CpuIsa kAllCpuIsas[] = {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512};

std::string_view name_of(CpuIsa isa);

/// Whether this machine runs it and this build has it.
bool is_supported(CpuIsa isa);

/// The best supported one; asked of the processor once.
CpuIsa best_cpu_isa();

/// As in fake_quant.h, with the instruction set given: for tests and benchmarks. Throws Error for
/// one that is not supported.
void fake_quantize_cpu(const FakeQuantParams& params, int64_t row_begin, int64_t row_end,
                       CpuIsa isa);
void fake_quantize_backward_cpu(const FakeQuantBackwardParams& params, int64_t row_begin,
                                int64_t row_end, CpuIsa isa);
void dequantize_cpu(const DequantizeParams& params, int64_t row_begin, int64_t row_end, CpuIsa isa);

}  // namespace nibble::kernels
