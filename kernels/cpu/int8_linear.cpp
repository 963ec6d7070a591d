#include "../reference/int8_linear.h"

#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

constexpr cpu::Int8LinearKernels kPortableInt8Linear = {reference::arrange_int8_activations,
                                                        reference::int8_linear};

const cpu::Int8LinearKernels& kernels_of(CpuIsa isa) {
  cpu::check_supported(isa);
#if defined(NIBBLE_X86_KERNELS)
  if (isa >= CpuIsa::kAvx512Vnni) return cpu::kAvx512VnniInt8Linear;
  if (isa >= CpuIsa::kAvx2) return cpu::kAvx2Int8Linear;
#endif
  return kPortableInt8Linear;
}

}  // namespace

bool can_run_int8_linear(const GroupedMatrix& weight) {
  // Sums over a group stay below 2^31: |x - z| <= 255, |w| <= 8.
  constexpr int64_t kLargestGroup = int64_t{1} << 19;
  return weight.grid == GridKind::kSymmetricInt4 && weight.group_size % 8 == 0 &&
         weight.group_size <= kLargestGroup;
}

int64_t int8_linear_scratch_bytes(const GroupedMatrix& weight) {
  // A tile's codes as bytes; of each group the sum of codes and the scale.
  const int64_t groups = weight.cols / weight.group_size;
  return kInt8LinearTileRows *
         (weight.cols + groups * static_cast<int64_t>(sizeof(int32_t) + sizeof(float)));
}

void arrange_int8_activations_cpu(const Int8ActivationParams& params, int64_t token_begin,
                                  int64_t token_end, CpuIsa isa) {
  kernels_of(isa).arrange(params, token_begin, token_end);
}

void int8_linear_cpu(const Int8LinearParams& params, int64_t row_begin, int64_t row_end,
                     void* scratch, CpuIsa isa) {
  kernels_of(isa).multiply(params, row_begin, row_end, scratch);
}

void arrange_int8_activations_cpu(const Int8ActivationParams& params, int64_t token_begin,
                                  int64_t token_end) {
  arrange_int8_activations_cpu(params, token_begin, token_end, best_cpu_isa());
}

void int8_linear_cpu(const Int8LinearParams& params, int64_t row_begin, int64_t row_end,
                     void* scratch) {
  int8_linear_cpu(params, row_begin, row_end, scratch, best_cpu_isa());
}

}  // namespace nibble::kernels
