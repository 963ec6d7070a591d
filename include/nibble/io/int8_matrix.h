#pragma once

#include <nibble/io/tensor_data.h>

namespace nibble::io {

/// A matrix that its file keeps as int8: value = code * scale of its group of columns.
struct Int8Matrix {
  TensorData codes;   ///< I8 [rows, columns]
  TensorData scales;  ///< F32 [rows, groups]; groups divides columns
};

}  // namespace nibble::io
