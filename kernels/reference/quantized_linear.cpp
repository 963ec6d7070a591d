#include "quantized_linear.h"

#include <nibble/numerics/pack_int4.h>

#include "../grid_dispatch.h"

namespace nibble::kernels::reference {

void quantized_linear(const QuantizedLinearParams& p, int64_t row_begin, int64_t row_end, void*) {
  dispatch_grid(p.weight, [&](auto element, auto scale, auto grid_tag) {
    using D = typename decltype(element)::type;
    using S = typename decltype(scale)::type;
    const GroupedMatrix& m = p.weight;
    const int64_t groups = m.cols / m.group_size;
    const auto parameter = [](const void* values, int64_t index) {
      return values == nullptr ? 0.0f : static_cast<float>(static_cast<const S*>(values)[index]);
    };
    for (int64_t row = row_begin; row < row_end; ++row) {
      const uint8_t* packed = p.packed_codes + row * numerics::packed_row_bytes(m.cols);
      for (int64_t token = 0; token < p.tokens; ++token) {
        const D* input = static_cast<const D*>(p.input) + token * m.cols;
        float sum = 0.0f;
        for (int64_t col = 0; col < m.cols; ++col) {
          const int64_t index = row * groups + col / m.group_size;
          const auto grid =
              restore_grid(grid_tag, parameter(p.scales, index), parameter(p.zeros, index));
          const float code = grid.kMinCode + static_cast<float>(numerics::nibble_at(packed, col));
          sum += grid.dequantize(code) * static_cast<float>(input[col]);
        }
        static_cast<D*>(p.output)[token * m.rows + row] = D(sum);
      }
    }
  });
}

}  // namespace nibble::kernels::reference
