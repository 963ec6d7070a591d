#include "int8_weight_linear.h"

#include "../grid_dispatch.h"

namespace nibble::kernels::reference {

void int8_weight_linear(const Int8WeightLinearParams& p, int64_t row_begin, int64_t row_end,
                        void*) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    for (int64_t row = row_begin; row < row_end; ++row) {
      for (int64_t token = 0; token < p.tokens; ++token) {
        const D* input = static_cast<const D*>(p.input) + token * p.cols;
        float sum = 0.0f;
        for (int64_t col = 0; col < p.cols; ++col) {
          sum += static_cast<float>(p.codes[row * p.cols + col]) * static_cast<float>(input[col]);
        }
        static_cast<D*>(p.output)[token * p.rows + row] = D(sum * p.scales[row]);
      }
    }
  });
}

}  // namespace nibble::kernels::reference
