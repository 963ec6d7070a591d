#include "../reference/fake_quant.h"

#include <nibble/kernels/fake_quant.h>

namespace nibble::kernels {

void fake_quantize_cpu(const FakeQuantParams& params, int64_t row_begin, int64_t row_end) {
  reference::fake_quantize(params, row_begin, row_end);
}

void fake_quantize_backward_cpu(const FakeQuantBackwardParams& params, int64_t row_begin,
                                int64_t row_end) {
  reference::fake_quantize_backward(params, row_begin, row_end);
}

void dequantize_cpu(const DequantizeParams& params, int64_t row_begin, int64_t row_end) {
  reference::dequantize(params, row_begin, row_end);
}

}  // namespace nibble::kernels
