#include "int8_linear.h"

#include <nibble/numerics/pack_int4.h>

#include <cmath>

#include "../grid_dispatch.h"

namespace nibble::kernels::reference {
namespace {

/// Where a column's code stands in an arranged row.
int64_t arranged_position(int64_t col) { return (col & ~7) | ((col & 1) << 2) | ((col & 7) >> 1); }

constexpr int kArrangedOffset = 128;

int zero_point_of(float zero) { return std::isnan(zero) ? 0 : static_cast<int>(zero); }

template <class S>
float product(const Int8LinearParams& p, int64_t row, int64_t token) {
  const GroupedMatrix& m = p.weight;
  const int64_t groups = m.cols / m.group_size;
  const uint8_t* weights = p.packed_codes + row * numerics::packed_row_bytes(m.cols);
  const S* scales = static_cast<const S*>(p.scales) + row * groups;
  const uint8_t* activations = p.arranged + token * m.cols;
  const int offset = kArrangedOffset + zero_point_of(p.activation_zeros[token]);
  float sum = 0.0f;
  for (int64_t g = 0; g < groups; ++g) {
    int32_t exact = 0;
    for (int64_t col = g * m.group_size; col < (g + 1) * m.group_size; ++col) {
      const int weight = numerics::nibble_at(weights, col) - numerics::kInt4Offset;
      exact += (activations[arranged_position(col)] - offset) * weight;
    }
    sum = std::fma(static_cast<float>(exact), static_cast<float>(scales[g]), sum);
  }
  return sum;
}

}  // namespace

void arrange_int8_activations(const Int8ActivationParams& p, int64_t token_begin,
                              int64_t token_end) {
  for (int64_t token = token_begin; token < token_end; ++token) {
    for (int64_t col = 0; col < p.cols; ++col) {
      p.arranged[token * p.cols + arranged_position(col)] =
          static_cast<uint8_t>(p.codes[token * p.cols + col] + kArrangedOffset);
    }
  }
}

void int8_linear(const Int8LinearParams& p, int64_t row_begin, int64_t row_end, void*) {
  dispatch_dtype(p.weight.scale_dtype, [&](auto scale) {
    dispatch_dtype(p.weight.dtype, [&](auto element) {
      using D = typename decltype(element)::type;
      for (int64_t row = row_begin; row < row_end; ++row) {
        for (int64_t token = 0; token < p.tokens; ++token) {
          const float sum = product<typename decltype(scale)::type>(p, row, token);
          static_cast<D*>(p.output)[token * p.weight.rows + row] =
              D(numerics::multiply(sum, p.activation_scales[token]));
        }
      }
    });
  });
}

}  // namespace nibble::kernels::reference
