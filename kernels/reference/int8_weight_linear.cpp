#include "int8_weight_linear.h"

#include "../grid_dispatch.h"

namespace nibble::kernels::reference {

void int8_weight_linear(const Int8WeightLinearParams& p, int64_t row_begin, int64_t row_end,
                        void*) {
  const int64_t size = p.cols / p.groups;
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    for (int64_t row = row_begin; row < row_end; ++row) {
      for (int64_t token = 0; token < p.tokens; ++token) {
        const D* input = static_cast<const D*>(p.input) + token * p.cols;
        float sum = 0.0f;
        for (int64_t group = 0; group < p.groups; ++group) {
          float of_group = 0.0f;
          for (int64_t col = group * size; col < (group + 1) * size; ++col) {
            of_group +=
                static_cast<float>(p.codes[row * p.cols + col]) * static_cast<float>(input[col]);
          }
          sum += of_group * p.scales[row * p.groups + group];
        }
        static_cast<D*>(p.output)[token * p.rows + row] = D(sum);
      }
    }
  });
}

}  // namespace nibble::kernels::reference
