#include <nibble/core/error.h>
#include <nibble/kernels/add_rms_norm_cuda.h>
#include <nibble/kernels/advance_token_cuda.h>
#include <nibble/kernels/decode_attention_cuda.h>
#include <nibble/kernels/fake_quant_cuda.h>
#include <nibble/kernels/gated_silu_cuda.h>
#include <nibble/kernels/greedy_token_cuda.h>
#include <nibble/kernels/int8_embedding_cuda.h>
#include <nibble/kernels/int8_weight_linear_cuda.h>
#include <nibble/kernels/quantized_linear_cuda.h>

namespace nibble::kernels {
namespace {

[[noreturn]] void fail_without_cuda() {
  fail("this nibble was built without CUDA: configure with -DNIBBLE_CUDA=ON and an nvcc");
}

}  // namespace

void fake_quantize_cuda(const FakeQuantParams&, CUstream_st*) { fail_without_cuda(); }
void fake_quantize_backward_cuda(const FakeQuantBackwardParams&, CUstream_st*) {
  fail_without_cuda();
}
void dequantize_cuda(const DequantizeParams&, CUstream_st*) { fail_without_cuda(); }
bool can_run_quantized_linear(const QuantizedLinearParams&) { return false; }
void quantized_linear_cuda(const QuantizedLinearParams&, CUstream_st*) { fail_without_cuda(); }
bool can_run_quantized_linears(const QuantizedLinearParams*, int64_t) { return false; }
void quantized_linears_cuda(const QuantizedLinearParams*, int64_t, CUstream_st*) {
  fail_without_cuda();
}
bool can_run_quantized_linears(const TokenSource&, const QuantizedLinearParams*, int64_t) {
  return false;
}
void quantized_linears_cuda(const TokenSource&, const QuantizedLinearParams*, int64_t,
                            CUstream_st*) {
  fail_without_cuda();
}
bool can_run_add_rms_norm(const AddRmsNormParams&) { return false; }
void add_rms_norm_cuda(const AddRmsNormParams&, CUstream_st*) { fail_without_cuda(); }
bool can_run_gated_silu(const GatedSiluParams&) { return false; }
void gated_silu_cuda(const GatedSiluParams&, CUstream_st*) { fail_without_cuda(); }
bool can_run_greedy_token(const GreedyTokenParams&) { return false; }
void greedy_token_cuda(const GreedyTokenParams&, CUstream_st*) { fail_without_cuda(); }
void advance_token_cuda(const AdvanceTokenParams&, CUstream_st*) { fail_without_cuda(); }
bool can_run_int8_embedding(const Int8EmbeddingParams&) { return false; }
void int8_embedding_cuda(const Int8EmbeddingParams&, CUstream_st*) { fail_without_cuda(); }
bool can_run_int8_weight_linear(const Int8WeightLinearParams&) { return false; }
void int8_weight_linear_cuda(const Int8WeightLinearParams&, CUstream_st*) { fail_without_cuda(); }
bool can_run_decode_attention(const DecodeAttentionParams&) { return false; }
int64_t decode_attention_scratch_bytes(const DecodeAttentionParams&) { return 0; }
void decode_attention_cuda(const DecodeAttentionParams&, CUstream_st*) { fail_without_cuda(); }

}  // namespace nibble::kernels
