#pragma once

#include <nibble/numerics/float_types.h>

#include <type_traits>

/// The three quantization grids, and with them every formula of the project: how a group's
/// parameters are chosen, how a value becomes a code, a code a value, and what the straight-through
/// gradient is. The reference loops, the SIMD and CUDA kernels and the tests all call these.
///
/// Source: TorchAO 0.18.0 on CPU (torchao/quantization/qat, quant_primitives.py); docs/numerics.md.
/// Values are floats that are exact in their type; R_T(v) is v rounded to type T, half to even. D
/// is the type of the tensor, S that of the scales, P = promote(D, S). Each written operation
/// rounds once: nothing here may be contracted or reassociated.
///
/// A grid is a value type with
///   static G choose(P lowest, P highest)           parameters of a group from its extremes
///   C unclamped_code(F x)                          the integer before clamping
///   C dequantize(C code)                           the value of a code, exact in D
///   C dequantize_centered(C code - kMidCode)       the same, of the int4 grids
///   C gradient(F g, M in_range)                    straight-through gradient, exact in D
///   kMinCode, kMaxCode                             inclusive
///   kIsSymmetric                                   only the largest magnitude of a group matters
///   kInverseMayOverflow                            of the int4 grids: a finite scale may have an
///                                                  infinite inverse, and the code of 0 be NaN
/// F and C are float and M bool, or a SIMD register of floats and its mask with the same free
/// functions (add, multiply, round_to<T>, within, ...), found by argument-dependent lookup: a
/// vector kernel evaluates these very lines. F and C differ where a lane type keeps what was
/// rounded in fewer bits (kernels/cuda/device/bfloat16x2.cuh). P, the type of the parameters, is
/// float for the grid of one group, or a register with as many groups as lanes: its parameters are
/// chosen together, and map() then takes out those of each.
/// NaN in a group makes its scale NaN and every value of the group NaN; an infinity does the same
/// through 0 * inf. Nothing traps.
namespace nibble::numerics {

/// A grid's answer for one value, or for each lane.
template <class F, class M>
struct QuantizedValue {
  F code;      ///< clamped to [kMinCode, kMaxCode]; NaN for a NaN
  M in_range;  ///< the unclamped code was inside, bounds included: the gradient passes
};

template <class Grid, class F>
NIBBLE_HD auto quantize(const Grid& grid, F x) {
  const auto code = grid.unclamped_code(x);
  using Code = std::remove_cv_t<decltype(code)>;
  const Code low(Grid::kMinCode), high(Grid::kMaxCode);
  const auto in_range = within(code, low, high);
  return QuantizedValue<Code, std::remove_cv_t<decltype(in_range)>>{nan_clamp(code, low, high),
                                                                    in_range};
}

/// int4 weights of 8da4w and of symmetric 4w: code * scale, codes -8..7, one scale a group.
///   scale = R_S(max(R_D(max|w| / 7.5), smallest normal of D))
template <class D, class S, class P = float>
struct SymmetricInt4 {
  static constexpr bool kIsSymmetric = true;
  static constexpr float kMinCode = -8.0f;
  static constexpr float kMaxCode = 7.0f;
  static constexpr float kMidCode = 0.0f;
  static constexpr float kHalfWidth = 7.5f;
  /// Float16 takes scales of normal numbers to subnormals and 0.
  static constexpr bool kInverseMayOverflow = std::is_same_v<S, Float16>;
  using Product = promote_t<D, S>;
  template <class Q>
  using With = SymmetricInt4<D, S, Q>;

  P scale;
  P inverse;  ///< R_S(1 / scale)

  NIBBLE_HD static SymmetricInt4 from_scale(P scale) {
    return {scale, round_to<S>(reciprocal(scale))};
  }
  NIBBLE_HD static SymmetricInt4 choose(P lowest, P highest) {
    const P zero(0.0f);
    const P below = subtract(zero, nan_min(lowest, zero));
    return choose_for_magnitude(nan_max(below, nan_max(highest, zero)));
  }
  /// The same from the largest |w|.
  NIBBLE_HD static SymmetricInt4 choose_for_magnitude(P magnitude) {
    const P scale = divide_by_bfloat16<D>(magnitude, kHalfWidth, 1.0f / kHalfWidth);
    return from_scale(round_to<S>(nan_max(scale, P(smallest_normal<D>()))));
  }
  template <class Q, class Function>
  NIBBLE_HD With<Q> map(Function function) const {
    return {function(scale), function(inverse)};
  }
  template <class F>
  NIBBLE_HD auto unclamped_code(F w) const {
    return round_to_integer(round_to<Product>(multiply(w, F(inverse))));
  }
  template <class F>
  NIBBLE_HD F dequantize(F code) const {
    static_assert(!std::is_integral_v<F>, "codes are floats here");
    return convert<Product, D>(round_to<Product>(multiply(code, F(scale))));
  }
  template <class F>
  NIBBLE_HD F dequantize_centered(F code) const {
    return dequantize(code);
  }
  template <class F, class M>
  NIBBLE_HD auto gradient(F g, M in_range) const {
    const auto scaled = convert<Product, D>(round_to<Product>(multiply(g, F(scale))));
    const auto passed = select(in_range, scaled, decltype(scaled)(0.0f));
    return convert<Product, D>(round_to<Product>(multiply(passed, F(inverse))));
  }
  NIBBLE_HD P zero() const { return P(0.0f); }
};

/// uint4 weights of 4w (tinygemm): (code - 8) * scale + zero, codes 0..15, float zero point; 0 is
/// not forced into the range. Scale and zero are bfloat16.
///   s0 = max(R_D(R_D(max - min) / 15), R_D(1e-6)); scale = bf16(s0); zero = bf16(R_D(min + R_D(8
///   s0)))
template <class D, class P = float>
struct AffineInt4 {
  static constexpr bool kIsSymmetric = false;
  static constexpr float kMinCode = 0.0f;
  static constexpr float kMaxCode = 15.0f;
  static constexpr float kMidCode = 8.0f;
  static constexpr float kSteps = 15.0f;
  static constexpr bool kInverseMayOverflow = false;  // scale >= 1e-6
  using Product = promote_t<D, BFloat16>;
  template <class Q>
  using With = AffineInt4<D, Q>;

  P scale;
  P zero_point;
  P low;      ///< bf16(zero - bf16(8 scale)): what code 0 stands for when quantizing
  P inverse;  ///< 1 / scale in float

  NIBBLE_HD static AffineInt4 from_parameters(P scale, P zero_point) {
    const P half_width = round_to<BFloat16>(multiply(scale, P(kMidCode)));
    return {scale, zero_point, round_to<BFloat16>(subtract(zero_point, half_width)),
            reciprocal(scale)};
  }
  NIBBLE_HD static AffineInt4 choose(P lowest, P highest) {
    const P range = round_to<D>(subtract(highest, lowest));
    const P step = divide_by_bfloat16<D>(range, kSteps, 1.0f / kSteps);
    const P scale = nan_max(step, P(round_to<D>(1e-6f)));
    const P middle = round_to<D>(add(lowest, round_to<D>(multiply(scale, P(kMidCode)))));
    return from_parameters(round_to<BFloat16>(scale), round_to<BFloat16>(middle));
  }
  template <class Q, class Function>
  NIBBLE_HD With<Q> map(Function function) const {
    return {function(scale), function(zero_point), function(low), function(inverse)};
  }
  template <class F>
  NIBBLE_HD auto unclamped_code(F w) const {
    const F offset = round_to<Product>(subtract(w, F(low)));
    return integer_quotient<Product>(offset, scale, inverse);
  }
  template <class F>
  NIBBLE_HD F dequantize(F code) const {
    static_assert(!std::is_integral_v<F>, "codes are floats here");
    return dequantize_centered(subtract(code, F(kMidCode)));
  }
  template <class F>
  NIBBLE_HD F dequantize_centered(F steps) const {
    const F scaled = round_to<Product>(multiply(steps, F(scale)));
    return convert<Product, D>(round_to<Product>(add(scaled, F(zero_point))));
  }
  template <class F, class M>
  NIBBLE_HD F gradient(F g, M in_range) const {
    const F scaled = convert<Product, D>(round_to<Product>(multiply(g, F(scale))));
    const F passed = select(in_range, scaled, F(0.0f));
    return convert<Product, D>(divide_by_bfloat16<Product>(passed, scale, inverse));
  }
  NIBBLE_HD P zero() const { return zero_point; }
};

/// int8 activations of 8da4w, one scale and zero point a token: (code - zero) * scale, codes
/// -128..127, 0 always representable. Scale and zero point are float, the zero point an integer.
///   s = max(R_D(R_D(hi - lo) / 255), 2^-23), lo = min(x, 0), hi = max(x, 0)
///   zero = clamp(-128 - rint(R_D(lo / s)), -128, 127); code = rint(x * (1/s)) + zero
template <class D, class P = float>
struct AsymmetricInt8 {
  static constexpr bool kIsSymmetric = false;
  static constexpr float kMinCode = -128.0f;
  static constexpr float kMaxCode = 127.0f;
  static constexpr float kSteps = 255.0f;
  static constexpr float kSmallestScale = 1.1920928955078125e-07f;  // 2^-23

  template <class Q>
  using With = AsymmetricInt8<D, Q>;

  P scale;
  P inverse;  ///< 1 / scale in float
  P zero_point;

  NIBBLE_HD static AsymmetricInt8 from_parameters(P scale, P zero_point) {
    return {scale, reciprocal(scale), zero_point};
  }
  NIBBLE_HD static AsymmetricInt8 choose(P lowest, P highest) {
    const P low = nan_min(lowest, P(0.0f));
    const P high = nan_max(highest, P(0.0f));
    const P range = round_to<D>(subtract(high, low));
    const P step = divide_by_bfloat16<D>(range, kSteps, 1.0f / kSteps);
    const P scale = nan_max(step, P(kSmallestScale));
    const P below = round_to_integer(round_to<D>(divide(low, scale)));
    const P zero_point = round_to<D>(subtract(P(kMinCode), below));
    return from_parameters(scale, nan_clamp(zero_point, P(kMinCode), P(kMaxCode)));
  }
  template <class Q, class Function>
  NIBBLE_HD With<Q> map(Function function) const {
    return {function(scale), function(inverse), function(zero_point)};
  }
  template <class F>
  NIBBLE_HD auto unclamped_code(F x) const {
    const auto steps = round_to_integer(multiply(x, F(inverse)));
    return add(steps, decltype(steps)(zero_point));
  }
  template <class F>
  NIBBLE_HD F dequantize(F code) const {
    static_assert(!std::is_integral_v<F>, "codes are floats here");
    return round_to<D>(multiply(round_to<D>(subtract(code, F(zero_point))), F(scale)));
  }
  template <class F, class M>
  NIBBLE_HD auto gradient(F g, M in_range) const {
    const auto scaled = round_to<D>(multiply(g, F(scale)));
    const auto passed = select(in_range, scaled, decltype(scaled)(0.0f));
    return round_to<D>(multiply(passed, F(inverse)));
  }
  NIBBLE_HD P zero() const { return zero_point; }
};

}  // namespace nibble::numerics
