#pragma once

#include <nibble/core/host_device.h>
#include <nibble/kernels/fake_quant.h>
#include <nibble/numerics/grids.h>

#include <type_traits>

namespace nibble::kernels {

/// Stands for a type in an argument list.
template <class T>
struct Tag {
  using type = T;
};

// Out of line, so that the SIMD files, which are compiled for other instruction sets, instantiate
// no code that the rest of the library shares.
[[noreturn]] void fail_unknown_dtype(DType dtype);
[[noreturn]] void fail_unknown_grid(GridKind grid);
/// Throws Error unless `matrix.scale_dtype` is the one its grid needs.
void check_scale_dtype(const GroupedMatrix& matrix, DType needed);

struct GradientDTypes {
  DType output;
  DType input;
};
/// Those of `params`, the defaults filled in.
GradientDTypes gradient_dtypes(const FakeQuantBackwardParams& params);
[[noreturn]] void fail_gradient_dtypes(const FakeQuantBackwardParams& params);

[[noreturn]] void fail_dequantized_dtype(const DequantizeParams& params);
/// Throws Error when packed codes are asked of a grid that has more than 16 of them.
void check_packing(const GroupedMatrix& matrix, const void* packed_codes);

template <class Body>
void dispatch_dtype(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body(Tag<float>{});
    case DType::kBFloat16:
      return body(Tag<numerics::BFloat16>{});
    case DType::kFloat16:
      return body(Tag<numerics::Float16>{});
  }
  fail_unknown_dtype(dtype);
}

/// Calls body(Tag<D>, Tag<S>, Tag<Grid>) with the element type, the scale type and the grid.
template <class Body>
void dispatch_grid(const GroupedMatrix& matrix, Body&& body) {
  dispatch_dtype(matrix.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    switch (matrix.grid) {
      case GridKind::kSymmetricInt4:
        return dispatch_dtype(matrix.scale_dtype, [&](auto scale) {
          using S = typename decltype(scale)::type;
          body(element, scale, Tag<numerics::SymmetricInt4<D, S>>{});
        });
      case GridKind::kAffineInt4:
        check_scale_dtype(matrix, DType::kBFloat16);
        return body(element, Tag<numerics::BFloat16>{}, Tag<numerics::AffineInt4<D>>{});
      case GridKind::kAsymmetricInt8:
        check_scale_dtype(matrix, DType::kFloat32);
        return body(element, Tag<float>{}, Tag<numerics::AsymmetricInt8<D>>{});
    }
    fail_unknown_grid(matrix.grid);
  });
}

template <class Grid>
inline constexpr bool kIsInt4 = Grid::kMaxCode - Grid::kMinCode == 15.0f;

/// As dispatch_grid(), for an int4 grid of bfloat16 or float16; does nothing for any other.
template <class Body>
void dispatch_16_bit_int4(const GroupedMatrix& matrix, Body&& body) {
  dispatch_grid(matrix, [&](auto element, auto scale, auto grid) {
    constexpr bool kIsFloat = std::is_same_v<typename decltype(element)::type, float>;
    if constexpr (!kIsFloat && kIsInt4<typename decltype(grid)::type>) body(element, scale, grid);
  });
}

/// Calls body(Tag<GradOutput>, Tag<GradInput>) for a matrix of element type D.
template <class D, class Body>
void dispatch_gradients(const FakeQuantBackwardParams& params, Tag<D> element, Body&& body) {
  const GradientDTypes gradients = gradient_dtypes(params);
  const DType dtype = params.matrix.dtype;
  if (gradients.output == dtype && gradients.input == dtype) return body(element, element);
  if constexpr (std::is_same_v<D, float>) {
    constexpr Tag<numerics::BFloat16> kNarrow;
    if (gradients.output == DType::kBFloat16) {
      if (gradients.input == DType::kFloat32) return body(kNarrow, element);
      if (gradients.input == DType::kBFloat16) return body(kNarrow, kNarrow);
    }
  }
  fail_gradient_dtypes(params);
}

/// Calls body(Tag<Out>) for a matrix of element type D.
template <class D, class Body>
void dispatch_dequantized(const DequantizeParams& params, Tag<D> element, Body&& body) {
  const DType dtype = params.output_dtype.value_or(params.matrix.dtype);
  if (dtype == params.matrix.dtype) return body(element);
  if constexpr (std::is_same_v<D, float>) {
    if (dtype == DType::kBFloat16) return body(Tag<numerics::BFloat16>{});
  }
  fail_dequantized_dtype(params);
}

/// The grid that stored parameters describe, or the grids of as many groups as P has lanes. `zero`
/// is ignored by the symmetric grid.
template <class D, class S, class P>
NIBBLE_HD numerics::SymmetricInt4<D, S, P> restore_grid(Tag<numerics::SymmetricInt4<D, S, P>>,
                                                        P scale, P) {
  return numerics::SymmetricInt4<D, S, P>::from_scale(scale);
}
template <class Grid, class P>
NIBBLE_HD Grid restore_grid(Tag<Grid>, P scale, P zero) {
  return Grid::from_parameters(scale, zero);
}

}  // namespace nibble::kernels
