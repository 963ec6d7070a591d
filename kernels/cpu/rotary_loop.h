#pragma once

#include <nibble/core/host_device.h>
#include <nibble/kernels/decoder.h>

/// What the rotary kernels of all instruction sets share.
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

}  // namespace nibble::kernels::cpu
