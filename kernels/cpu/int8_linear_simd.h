#pragma once

#include <cstring>

#include "../grid_dispatch.h"
#include "cpu_kernels.h"
#include "int8_tile.h"

/// The integer Linear over one set of integer instructions W (int8_avx2.h, int8_avx512_vnni.h). The
/// rows of a tile lie in the lanes of W's registers: a tile's codes are unpacked and transposed
/// into the scratch once, and every token then multiplies them without summing over lanes.
///
/// Whatever is instantiated here must depend on W or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

/// The products of kVectors registers of rows with kTokens tokens, without the tokens' scales.
template <class W, int kTokens, int kVectors>
struct Products {
  typename W::FloatRegister sums[kTokens][kVectors];
};

/// `activations` and `zeros` begin at the first of the tokens. All loops over registers are
/// unrolled: what they index never leaves the registers.
template <class W, int kTokens>
NIBBLE_HD Products<W, kTokens, W::kVectors> multiply(const Tile<W>& tile,
                                                     const uint8_t* activations,
                                                     int64_t token_bytes, const float* zeros) {
  using Register = typename W::Register;
  // A single token's dot products would wait for each other: its halves are summed apart.
  constexpr int kChains = kTokens == 1 ? kHalves : 1;
  Register offsets[kTokens];
  Products<W, kTokens, W::kVectors> products;
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    offsets[t] = W::broadcast(negated_offset(zeros[t]));
#pragma GCC unroll 8
    for (int v = 0; v < W::kVectors; ++v) products.sums[t][v] = W::float_zero();
  }
  int64_t step = 0;
  for (int64_t group = 0; group < tile.groups; ++group) {
    Register exact[kTokens][W::kVectors][kChains];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
      for (int v = 0; v < W::kVectors; ++v) {
        exact[t][v][kChains - 1] = W::zero();
        exact[t][v][0] = W::dot_pairs(W::load(tile.code_sums_at(group, v)), offsets[t]);
      }
    }
    for (const int64_t end = step + tile.group_steps; step < end; ++step) {
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) {
        Register weights[W::kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < W::kVectors; ++v) weights[v] = W::load(tile.codes_at(step, half, v));
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const int64_t offset = t * token_bytes + (step * kHalves + half) * kStepBytes;
          const Register four = W::broadcast(activations + offset);
#pragma GCC unroll 8
          for (int v = 0; v < W::kVectors; ++v) {
            Register& sum = exact[t][v][half % kChains];
            sum = W::dot_bytes(sum, four, weights[v]);
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < W::kVectors; ++v) {
      const auto scale = W::load_floats(tile.scales_at(group, v));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        Register sum = exact[t][v][0];
        if constexpr (kChains > 1) sum = W::add(sum, exact[t][v][1]);
        products.sums[t][v] = W::fused_multiply_add(sum, scale, products.sums[t][v]);
      }
    }
  }
  return products;
}

/// Scales, rounds and stores them: rows [row, row_end), of which the registers may hold more.
template <class D, class W, int kTokens, int kVectors>
NIBBLE_HD void store_products(const Products<W, kTokens, kVectors>& products,
                              const Int8LinearParams& p, int64_t token, int64_t row,
                              int64_t row_end) {
  using Floats = typename W::Floats;
  for (int t = 0; t < kTokens; ++t) {
    D* output = static_cast<D*>(p.output) + (token + t) * p.weight.rows;
    for (int v = 0; v < kVectors; ++v) {
      const int64_t first = row + v * W::kLanes;
      const Floats value = round_to<D>(
          multiply(Floats(products.sums[t][v]), Floats(p.activation_scales[token + t])));
      if (first + W::kLanes <= row_end) {
        value.store(output + first);
      } else if (first < row_end) {
        D lanes[W::kLanes];
        value.store(lanes);
        memcpy(output + first, lanes, static_cast<size_t>(row_end - first) * sizeof(D));
      }
    }
  }
}

/// Tokens from `token` on: kTokens at a time, what is left with one call of the right size.
template <class W, class D, int kTokens = W::kTokens>
void multiply_tokens(const Tile<W>& tile, const Int8LinearParams& p, int64_t token, int64_t row,
                     int64_t row_end) {
  for (; token + kTokens <= p.tokens; token += kTokens) {
    const uint8_t* activations = p.arranged + token * p.weight.cols;
    store_products<D>(
        multiply<W, kTokens>(tile, activations, p.weight.cols, p.activation_zeros + token), p,
        token, row, row_end);
  }
  if constexpr (kTokens > 1) {
    if (token < p.tokens) multiply_tokens<W, D, kTokens - 1>(tile, p, token, row, row_end);
  }
}

/// The products of all tokens, kTokens, with one register of rows, whose codes are used as they are
/// unpacked: for so few tokens a tile of them would not be read often enough to pay for its
/// writing.
template <class W, int kTokens>
NIBBLE_HD Products<W, kTokens, 1> multiply_packed(const Tile<W>& tile,
                                                  const RowPointers<W, uint8_t>& packed,
                                                  const Int8LinearParams& p) {
  using Register = typename W::Register;
  const Register ones = W::broadcast(0x01010101u);
  Register even_sums[kTokens], odd_sums[kTokens], offsets[kTokens];
  Products<W, kTokens, 1> products;
  Register code_sum = W::zero();
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    offsets[t] = W::broadcast(negated_offset(p.activation_zeros[t]));
    even_sums[t] = odd_sums[t] = W::zero();
    products.sums[t][0] = W::float_zero();
  }
  int64_t group = 0, left_in_group = tile.group_steps;
  for_each_step<W>(packed, tile.steps, [&](int64_t step, Register even, Register odd) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const uint8_t* codes = p.arranged + t * p.weight.cols + step * kStepColumns;
      even_sums[t] = W::dot_bytes(even_sums[t], W::broadcast(codes), even);
      odd_sums[t] = W::dot_bytes(odd_sums[t], W::broadcast(codes + kStepBytes), odd);
    }
    code_sum = W::dot_bytes(W::dot_bytes(code_sum, ones, even), ones, odd);
    if (--left_in_group > 0) return;
    const auto scale = W::load_floats(tile.scales_at(group++, 0));
    const Register split = W::split(code_sum);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const Register sum = W::add(even_sums[t], odd_sums[t]);
      const Register exact = W::add(sum, W::dot_pairs(split, offsets[t]));
      products.sums[t][0] = W::fused_multiply_add(exact, scale, products.sums[t][0]);
      even_sums[t] = odd_sums[t] = W::zero();
    }
    code_sum = W::zero();
    left_in_group = tile.group_steps;
  });
  return products;
}

template <class W, class S, class D, int kTokens>
void multiply_few_tokens(const Tile<W>& tile, const Int8LinearParams& p, int64_t row_begin,
                         int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; row += W::kLanes) {
    unpack_scales<W, S>(tile, 0, p, row, row_end);
    store_products<D>(multiply_packed<W, kTokens>(tile, packed_rows<W>(p, row, row_end), p), p, 0,
                      row, row_end);
  }
}

/// kTokens or fewer tokens; false for more.
template <class W, class S, class D, int kTokens = W::kFewTokens>
NIBBLE_HD bool multiply_if_few_tokens(const Tile<W>& tile, const Int8LinearParams& p,
                                      int64_t row_begin, int64_t row_end) {
  if (p.tokens == kTokens) multiply_few_tokens<W, S, D, kTokens>(tile, p, row_begin, row_end);
  if constexpr (kTokens > 1) {
    if (p.tokens < kTokens) {
      return multiply_if_few_tokens<W, S, D, kTokens - 1>(tile, p, row_begin, row_end);
    }
  }
  return p.tokens <= kTokens;
}

template <class W>
void int8_linear(const Int8LinearParams& p, int64_t row_begin, int64_t row_end, void* scratch) {
  const Tile<W> tile(p.weight, scratch);
  dispatch_dtype(p.weight.scale_dtype, [&](auto scale) {
    dispatch_dtype(p.weight.dtype, [&](auto element) {
      using S = typename decltype(scale)::type;
      using D = typename decltype(element)::type;
      if (multiply_if_few_tokens<W, S, D>(tile, p, row_begin, row_end)) return;
      for (int64_t row = row_begin; row < row_end; row += Tile<W>::kRows) {
        const int64_t end = row + Tile<W>::kRows < row_end ? row + Tile<W>::kRows : row_end;
        unpack<W, S>(tile, p, row, end);
        multiply_tokens<W, D>(tile, p, 0, row, end);
      }
    });
  });
}

template <class W>
void arrange_int8_activations(const Int8ActivationParams& p, int64_t token_begin,
                              int64_t token_end) {
  // Tokens lie one behind the other and each is a multiple of eight codes long.
  constexpr int64_t kBytes = W::kLanes * 4;
  const int64_t end = token_end * p.cols;
  int64_t i = token_begin * p.cols;
  for (; i + kBytes <= end; i += kBytes) W::store(W::arrange(W::load(p.codes + i)), p.arranged + i);
  if (i < end) {
    int8_t codes[kBytes];
    uint8_t arranged[kBytes];
    memcpy(codes, p.codes + i, static_cast<size_t>(end - i));
    W::store(W::arrange(W::load(codes)), arranged);
    memcpy(p.arranged + i, arranged, static_cast<size_t>(end - i));
  }
}

template <class W>
constexpr Int8LinearKernels int8_linear_kernels() {
  return {arrange_int8_activations<W>, int8_linear<W>};
}

}  // namespace nibble::kernels::cpu
