#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace nibble::nn {

/// A weight [rows, columns] kept as int8: value = code * scale of its group of columns. One of them
/// may serve an embedding and the output projection that is tied to it; a copy shares the tensors.
struct Int8Weight {
  at::Tensor codes;   ///< int8 [rows, columns]
  at::Tensor scales;  ///< float32 [rows, groups]; groups divides columns

  bool defined() const { return codes.defined(); }
  /// Whether both are the same tensors.
  bool is_same(const Int8Weight& other) const { return codes.is_same(other.codes); }
  int64_t bytes() const;
  /// The float32 values, rounded once.
  at::Tensor dequantize(at::ScalarType dtype) const;
  /// Throws Error naming `what` unless shapes and dtypes are as above with this many rows and
  /// columns.
  void check(const char* what, int64_t rows, int64_t columns) const;
};

}  // namespace nibble::nn
