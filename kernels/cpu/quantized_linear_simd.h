#pragma once

#include <nibble/numerics/pack_int4.h>

#include <cstring>
#include <type_traits>
#include <utility>

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "prefetch.h"

/// The weight-only Linear for few tokens over one set of instructions W (nibbles_*.h). A lane holds
/// eight codes of one row, which lie in one group: they are multiplied with the input as integers
/// 0..15 less 8, and a lane's sum is scaled.
///
/// Whatever is instantiated here must depend on W or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

inline constexpr int kLaneCodes = 8;

template <class W>
inline constexpr int64_t kBlockCodes = W::kLanes* kLaneCodes;

/// The buffers of one call, in its scratch. Lanes beyond the last column read zeros everywhere.
template <class W>
struct QuantizedLinearScratch {
  NIBBLE_HD QuantizedLinearScratch(const QuantizedLinearParams& p, void* scratch)
      : groups(p.weight.cols / p.weight.group_size),
        blocks((p.weight.cols + kBlockCodes<W> - 1) / kBlockCodes<W>),
        input(static_cast<float*>(scratch)),
        lane_sums(input + p.tokens * blocks * kBlockCodes<W>),
        scales(lane_sums + p.tokens * blocks * W::kLanes),
        zeros(scales + groups + W::kLanes),
        group_of_lane(reinterpret_cast<int32_t*>(zeros + groups + W::kLanes)),
        first_group(group_of_lane + blocks * W::kLanes) {}

  int64_t groups;
  int64_t blocks;
  float* input;            ///< [tokens, blocks, 8, lanes]: column i of each lane side by side
  float* lane_sums;        ///< [tokens, blocks, lanes]: what a zero point multiplies
  float* scales;           ///< of one row
  float* zeros;            ///< of one row; of the affine grid only
  int32_t* group_of_lane;  ///< [blocks, lanes], less first_group
  int32_t* first_group;    ///< [blocks]
};

template <class W, class D>
NIBBLE_HD void arrange_token(const D* input, int64_t cols, float* arranged, float* lane_sums) {
  const int64_t blocks = (cols + kBlockCodes<W> - 1) / kBlockCodes<W>;
  for (int64_t lane = 0; lane < blocks * W::kLanes; ++lane) {
    float* target = arranged + lane / W::kLanes * kBlockCodes<W> + lane % W::kLanes;
    float sum = 0.0f;
    for (int64_t i = 0; i < kLaneCodes; ++i) {
      const int64_t col = lane * kLaneCodes + i;
      const float value = col < cols ? static_cast<float>(input[col]) : 0.0f;
      target[i * W::kLanes] = value;
      sum += value;
    }
    lane_sums[lane] = sum;
  }
}

template <class W, class D>
NIBBLE_HD void fill_scratch(const QuantizedLinearParams& p,
                            const QuantizedLinearScratch<W>& scratch) {
  const GroupedMatrix& m = p.weight;
  for (int64_t token = 0; token < p.tokens; ++token) {
    arrange_token<W>(static_cast<const D*>(p.input) + token * m.cols, m.cols,
                     scratch.input + token * scratch.blocks * kBlockCodes<W>,
                     scratch.lane_sums + token * scratch.blocks * W::kLanes);
  }
  const int64_t lanes = m.cols / kLaneCodes;
  for (int64_t block = 0; block < scratch.blocks; ++block) {
    const int64_t first = block * kBlockCodes<W> / m.group_size;
    scratch.first_group[block] = static_cast<int32_t>(first);
    for (int64_t i = 0; i < W::kLanes; ++i) {
      const int64_t lane = block * W::kLanes + i;
      const int64_t group = lane < lanes ? lane * kLaneCodes / m.group_size : first;
      scratch.group_of_lane[lane] = static_cast<int32_t>(group - first);
    }
  }
  for (float* parameters : {scratch.scales, scratch.zeros}) {
    for (int64_t i = 0; i < W::kLanes; ++i) parameters[scratch.groups + i] = 0.0f;
  }
}

/// A row's scales or zeros as floats.
template <class W, class S>
NIBBLE_HD void load_parameters(const void* source, int64_t row, int64_t groups, float* target) {
  using V = typename W::Floats;
  const S* values = static_cast<const S*>(source) + row * groups;
  int64_t i = 0;
  for (; i + V::kLanes <= groups; i += V::kLanes) V::load(values + i).store(target + i);
  for (; i < groups; ++i) target[i] = static_cast<float>(values[i]);
}

/// Calls body(i) for i in 0..7, each a constant.
template <class Body>
NIBBLE_HD void for_each_lane_code(Body&& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (body(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, kLaneCodes>{});
}

/// The products of a row, whose parameters are in the scratch, with kTokens tokens from `token` on.
template <class W, bool kHasZeros, int kTokens>
NIBBLE_HD void multiply_row(const uint8_t* row, int64_t lanes,
                            const QuantizedLinearScratch<W>& scratch, int64_t token,
                            float (&products)[kTokens]) {
  using Register = typename W::Register;
  const int64_t token_lanes = scratch.blocks * W::kLanes;
  Register sums[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) sums[t] = W::zero();
  for (int64_t block = 0; block < scratch.blocks; ++block) {
    const int64_t lane = block * W::kLanes;
    const int64_t count = lanes - lane < W::kLanes ? lanes - lane : W::kLanes;
    const uint8_t* packed = row + lane * kLaneCodes / 2;
    prefetch_weights(packed + kWeightsAhead);
    const auto codes = W::load_codes(packed, count);
    const float* input = scratch.input + (token * token_lanes + lane) * kLaneCodes;
    Register exact[kTokens];
    for_each_lane_code([&](auto i) __attribute__((always_inline)) {
      const Register code = W::template code<i>(codes);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const float* x = input + t * token_lanes * kLaneCodes + i * W::kLanes;
        exact[t] = i == 0 ? W::multiply(code, x) : W::multiply_add(code, x, exact[t]);
      }
    });
    const int32_t* group = scratch.group_of_lane + lane;
    const Register scale = W::pick(scratch.scales + scratch.first_group[block], group);
    if constexpr (kHasZeros) {
      // Products that are rounded alike, so that values of zero, 8 steps from the zero point, add
      // up to zero.
      const Register zero = W::pick(scratch.zeros + scratch.first_group[block], group);
      const float* lane_sums = scratch.lane_sums + token * token_lanes + lane;
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const Register offset = W::multiply(zero, lane_sums + t * token_lanes);
        sums[t] = W::add(sums[t], W::add(W::multiply(exact[t], scale), offset));
      }
    } else {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) sums[t] = W::multiply_add(exact[t], scale, sums[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) products[t] = W::sum_of_lanes(sums[t]);
}

/// Tokens from `token` on: kTokens at a time, what is left with one call of the right size.
template <class W, class D, bool kHasZeros, int kTokens = W::kTokens>
NIBBLE_HD void multiply_tokens(const QuantizedLinearParams& p,
                               const QuantizedLinearScratch<W>& scratch, int64_t row,
                               int64_t token) {
  const uint8_t* codes = p.packed_codes + row * numerics::packed_row_bytes(p.weight.cols);
  for (; token + kTokens <= p.tokens; token += kTokens) {
    float products[kTokens];
    multiply_row<W, kHasZeros>(codes, p.weight.cols / kLaneCodes, scratch, token, products);
    for (int t = 0; t < kTokens; ++t) {
      static_cast<D*>(p.output)[(token + t) * p.weight.rows + row] = D(products[t]);
    }
  }
  if constexpr (kTokens > 1) {
    if (token < p.tokens) {
      multiply_tokens<W, D, kHasZeros, kTokens - 1>(p, scratch, row, token);
    }
  }
}

template <class W>
void quantized_linear(const QuantizedLinearParams& p, int64_t row_begin, int64_t row_end,
                      void* memory) {
  const QuantizedLinearScratch<W> scratch(p, memory);
  dispatch_dtype(p.weight.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    fill_scratch<W, D>(p, scratch);
    dispatch_dtype(p.weight.scale_dtype, [&](auto scale) {
      using S = typename decltype(scale)::type;
      for (int64_t row = row_begin; row < row_end; ++row) {
        load_parameters<W, S>(p.scales, row, scratch.groups, scratch.scales);
        if (p.zeros == nullptr) {
          multiply_tokens<W, D, false>(p, scratch, row, 0);
        } else {
          load_parameters<W, S>(p.zeros, row, scratch.groups, scratch.zeros);
          multiply_tokens<W, D, true>(p, scratch, row, 0);
        }
      }
    });
  });
}

}  // namespace nibble::kernels::cpu
