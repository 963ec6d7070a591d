#include "quantized_linear.h"

#include <nibble/numerics/pack_int4.h>

#include "../grid_dispatch.h"

namespace nibble::kernels::reference {
namespace {

struct GroupSums {
  float steps;   ///< of (code - 8) * input, the codes as nibbles
  float inputs;  ///< of input
};

template <class D>
GroupSums sums_of_group(const uint8_t* codes, const D* input, int64_t first, int64_t size) {
  GroupSums sums{0.0f, 0.0f};
  for (int64_t col = first; col < first + size; ++col) {
    const auto steps = static_cast<float>(numerics::nibble_at(codes, col) - numerics::kInt4Offset);
    sums.steps += steps * static_cast<float>(input[col]);
    sums.inputs += static_cast<float>(input[col]);
  }
  return sums;
}

template <class S>
float parameter(const void* values, int64_t index) {
  return static_cast<float>(static_cast<const S*>(values)[index]);
}

}  // namespace

void quantized_linear(const QuantizedLinearParams& p, int64_t row_begin, int64_t row_end, void*) {
  const GroupedMatrix& m = p.weight;
  const int64_t groups = m.cols / m.group_size;
  dispatch_dtype(m.dtype, [&](auto element) {
    dispatch_dtype(m.scale_dtype, [&](auto scale) {
      using D = typename decltype(element)::type;
      using S = typename decltype(scale)::type;
      for (int64_t row = row_begin; row < row_end; ++row) {
        const uint8_t* codes = p.packed_codes + row * numerics::packed_row_bytes(m.cols);
        for (int64_t token = 0; token < p.tokens; ++token) {
          const D* input = static_cast<const D*>(p.input) + token * m.cols;
          float sum = 0.0f;
          for (int64_t g = 0; g < groups; ++g) {
            const auto [steps, inputs] =
                sums_of_group(codes, input, g * m.group_size, m.group_size);
            const float scaled = steps * parameter<S>(p.scales, row * groups + g);
            sum += p.zeros == nullptr ? scaled
                                      : scaled + inputs * parameter<S>(p.zeros, row * groups + g);
          }
          static_cast<D*>(p.output)[token * m.rows + row] = D(sum);
        }
      }
    });
  });
}

}  // namespace nibble::kernels::reference
