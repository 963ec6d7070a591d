#pragma once

#include <nibble/core/host_device.h>
#include <nibble/kernels/decoder.h>

/// What the decoder kernels of all instruction sets share.
namespace nibble::kernels::cpu {

/// Elements [from, half) of both halves of a head.
template <class D>
NIBBLE_HD void rotate_elements(const D* input, const D* cos, const D* sin, int64_t half,
                               int64_t from, D* output) {
  const auto product = [](D a, D b) __attribute__((always_inline)) {
    return static_cast<float>(D(static_cast<float>(a) * static_cast<float>(b)));
  };
  for (int64_t i = from; i < half; ++i) {
    const D first = input[i], second = input[half + i];
    output[i] = D(product(first, cos[i]) - product(second, sin[i]));
    output[half + i] = D(product(second, cos[half + i]) + product(first, sin[half + i]));
  }
}

/// Calls rotate(input, cos, sin, output) for each head of the tokens and copies what is not
/// rotated.
template <class D, class Rotate>
NIBBLE_HD void for_each_head(const RotaryParams& p, int64_t token_begin, int64_t token_end,
                             Rotate&& rotate) {
  for (int64_t token = token_begin; token < token_end; ++token) {
    const int64_t position = token % p.positions * p.rotary_dim;
    for (int64_t head = 0; head < p.heads; ++head) {
      const D* input = static_cast<const D*>(p.input) + token * p.token_stride + head * p.head_dim;
      D* output = static_cast<D*>(p.output) + (token * p.heads + head) * p.head_dim;
      rotate(input, static_cast<const D*>(p.cos) + position,
             static_cast<const D*>(p.sin) + position, output);
      for (int64_t i = p.rotary_dim; i < p.head_dim; ++i) output[i] = input[i];
    }
  }
}

/// Calls attend(query, key, value, bias, output) for the query heads [begin, end) of all batch *
/// heads; bias may be null.
template <class D, class Attend>
NIBBLE_HD void for_each_query(const SingleQueryAttentionParams& p, int64_t begin, int64_t end,
                              Attend&& attend) {
  const int64_t group = p.heads / p.kv_heads;
  for (int64_t head = begin; head < end; ++head) {
    const int64_t row = head / p.heads;
    const int64_t offset = row * p.batch_stride + head % p.heads / group * p.head_stride;
    attend(static_cast<const D*>(p.query) + head * p.head_dim,
           static_cast<const D*>(p.key) + offset, static_cast<const D*>(p.value) + offset,
           p.bias == nullptr ? nullptr : static_cast<const D*>(p.bias) + row * p.bias_stride,
           static_cast<D*>(p.output) + head * p.head_dim);
  }
}

}  // namespace nibble::kernels::cpu
