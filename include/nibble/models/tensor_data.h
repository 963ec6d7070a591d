#pragma once

#include <nibble/io/tensor_data.h>

#include <ATen/core/Tensor.h>

namespace nibble::models {

/// A CPU tensor over the bytes of `data`, not copied; it keeps the owner alive. The bytes may be a
/// read-only file map: never write into it.
at::Tensor to_tensor(const io::TensorData& data);

/// The bytes of `tensor`, which the result keeps alive; copied only where the tensor is not a dense
/// CPU tensor already. Throws Error for a dtype that files have no name for.
io::TensorData to_tensor_data(const at::Tensor& tensor);

}  // namespace nibble::models
