#include "grid_dispatch.h"

#include <nibble/core/error.h>

namespace nibble::kernels {

void fail_unknown_dtype(DType dtype) { fail("unknown kernel dtype ", static_cast<int>(dtype)); }

void fail_unknown_grid(GridKind grid) {
  fail("unknown quantization grid ", static_cast<int>(grid));
}

void check_scale_dtype(const GroupedMatrix& matrix, DType needed) {
  NIBBLE_CHECK(matrix.scale_dtype == needed, "quantization grid ", static_cast<int>(matrix.grid),
               " keeps its scales and zeros in ",
               needed == DType::kFloat32 ? "float32" : "bfloat16", ", got kernel dtype ",
               static_cast<int>(matrix.scale_dtype));
}

}  // namespace nibble::kernels
