#pragma once

#include <nibble/io/safetensors.h>

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace nibble {

/// An embedding [rows, features] as int8, one float32 scale a row: code = rint(w / s) in -127..127,
/// s = max|w| / 127 (1 for a row of zeros). Stored as `<name>` int8 and `<name>_scale` [rows, 1].
std::vector<io::NamedTensor> write_int8_embedding(const std::string& name,
                                                  const at::Tensor& weight);
/// The float32 value of the two stored tensors. Throws Error when shapes or dtypes are off.
at::Tensor read_int8_embedding(const std::string& name, const at::Tensor& codes,
                               const at::Tensor& scales);

}  // namespace nibble
