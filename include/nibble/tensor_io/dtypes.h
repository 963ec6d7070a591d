#pragma once

#include <nibble/io/tensor_data.h>

#include <c10/core/ScalarType.h>

namespace nibble::tensor_io {

/// The name of a dtype in files, and back. Throws Error for a dtype that the other side lacks.
io::DType dtype_of(at::ScalarType dtype);
at::ScalarType scalar_type_of(io::DType dtype);
/// The name of a model's dtype in config.json and in torch: "float32", "bfloat16", "float16".
/// Throws Error for any other.
const char* torch_name(at::ScalarType dtype);

}  // namespace nibble::tensor_io
