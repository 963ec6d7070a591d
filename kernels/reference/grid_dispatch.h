#pragma once

#include <nibble/core/error.h>
#include <nibble/kernels/fake_quant.h>
#include <nibble/numerics/grids.h>

namespace nibble::kernels {

/// Stands for a type in an argument list.
template <class T>
struct Tag {
  using type = T;
};

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
  fail("unknown kernel dtype ", static_cast<int>(dtype));
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
        NIBBLE_CHECK(matrix.scale_dtype == DType::kBFloat16,
                     "the affine int4 grid keeps scales and zeros in bfloat16");
        return body(element, Tag<numerics::BFloat16>{}, Tag<numerics::AffineInt4<D>>{});
      case GridKind::kAsymmetricInt8:
        NIBBLE_CHECK(matrix.scale_dtype == DType::kFloat32,
                     "the asymmetric int8 grid keeps scales and zeros in float32");
        return body(element, Tag<float>{}, Tag<numerics::AsymmetricInt8<D>>{});
    }
    fail("unknown quantization grid ", static_cast<int>(matrix.grid));
  });
}

/// The grid that stored parameters describe. `zero` is ignored by the symmetric grid.
template <class D, class S>
numerics::SymmetricInt4<D, S> restore_grid(Tag<numerics::SymmetricInt4<D, S>>, float scale, float) {
  return numerics::SymmetricInt4<D, S>::from_scale(scale);
}
template <class Grid>
Grid restore_grid(Tag<Grid>, float scale, float zero) {
  return Grid::from_parameters(scale, zero);
}

}  // namespace nibble::kernels
