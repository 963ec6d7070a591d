#pragma once

#include <nibble/core/host_device.h>

/// exp() lane by lane over one SIMD register type V (simd_*.h).
namespace nibble::kernels::cpu {

/// e^x to 2e-7 of its size, for x in -87..88; beyond, the value at that end. NaN stays NaN. The
/// polynomial is that of the Cephes library's expf().
template <class V>
NIBBLE_HD V exponential(V x) {
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kCoefficients[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                     4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  const V clamped = nan_clamp(x, V(-87.0f), V(88.0f));
  const V exponent = round_to_integer(multiply(clamped, V(kLog2E)));
  V rest = fused_multiply_add(exponent, V(-kLn2High), clamped);
  rest = fused_multiply_add(exponent, V(-kLn2Low), rest);
  V sum(kCoefficients[0]);
#pragma GCC unroll 5
  for (int i = 1; i < 6; ++i) sum = fused_multiply_add(sum, rest, V(kCoefficients[i]));
  const V value = add(fused_multiply_add(sum, multiply(rest, rest), rest), V(1.0f));
  return multiply(value, power_of_two(exponent));
}

}  // namespace nibble::kernels::cpu
