#include <nibble/core/error.h>
#include <nibble/kernels/fake_quant_cuda.h>
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

}  // namespace nibble::kernels
