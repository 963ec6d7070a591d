#include "../reference/decoder.h"

#include <nibble/kernels/cpu_isa.h>

#include "cpu_kernels.h"

namespace nibble::kernels {
namespace {

constexpr cpu::DecoderKernels kPortable = {reference::rms_norm, reference::swiglu,
                                           reference::rotate, reference::single_query_attention};

const cpu::DecoderKernels& kernels_of(CpuIsa isa) {
  cpu::check_supported(isa);
#if defined(NIBBLE_X86_KERNELS)
  if (isa >= CpuIsa::kAvx512) return cpu::kAvx512Decoder;
  if (isa >= CpuIsa::kAvx2) return cpu::kAvx2Decoder;
#endif
  return kPortable;
}

}  // namespace

int64_t single_query_attention_scratch_bytes(const SingleQueryAttentionParams& params) {
  constexpr int64_t kLanes = 16;  // the scores end in a whole register
  return static_cast<int64_t>(sizeof(float)) * (params.head_dim + params.keys + kLanes);
}

void rms_norm_cpu(const RmsNormParams& params, int64_t row_begin, int64_t row_end, CpuIsa isa) {
  kernels_of(isa).rms_norm(params, row_begin, row_end);
}
void swiglu_cpu(const SwigluParams& params, int64_t begin, int64_t end, CpuIsa isa) {
  kernels_of(isa).swiglu(params, begin, end);
}
void rotate_cpu(const RotaryParams& params, int64_t token_begin, int64_t token_end, CpuIsa isa) {
  kernels_of(isa).rotate(params, token_begin, token_end);
}
void single_query_attention_cpu(const SingleQueryAttentionParams& params, int64_t begin,
                                int64_t end, void* scratch, CpuIsa isa) {
  kernels_of(isa).single_query_attention(params, begin, end, scratch);
}

void rms_norm_cpu(const RmsNormParams& params, int64_t row_begin, int64_t row_end) {
  rms_norm_cpu(params, row_begin, row_end, best_cpu_isa());
}
void swiglu_cpu(const SwigluParams& params, int64_t begin, int64_t end) {
  swiglu_cpu(params, begin, end, best_cpu_isa());
}
void rotate_cpu(const RotaryParams& params, int64_t token_begin, int64_t token_end) {
  rotate_cpu(params, token_begin, token_end, best_cpu_isa());
}
void single_query_attention_cpu(const SingleQueryAttentionParams& params, int64_t begin,
                                int64_t end, void* scratch) {
  single_query_attention_cpu(params, begin, end, scratch, best_cpu_isa());
}

}  // namespace nibble::kernels
