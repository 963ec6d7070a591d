#pragma once

#include <nibble/io/tensor_data.h>

#include <c10/core/ScalarType.h>

namespace nibble::tensor_io {

/// The name of a dtype in files, and back. Throws Error for a dtype that the other side lacks.
io::DType dtype_of(at::ScalarType dtype);
at::ScalarType scalar_type_of(io::DType dtype);

}  // namespace nibble::tensor_io
