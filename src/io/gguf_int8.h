#pragma once

#include <nibble/io/gguf.h>
#include <nibble/io/int8_matrix.h>

#include <optional>

namespace nibble::io {

/// The integers and scales of a Q8_0 matrix, a scale for every 32 columns; nothing for a tensor of
/// another type or rank.
std::optional<Int8Matrix> int8_matrix_of(const GgufTensor& tensor);

}  // namespace nibble::io
