#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/io/safetensors.h>
#include <nibble/nn/int8_weight.h>

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace nibble {

/// An embedding or output projection [rows, features] as int8: code = rint(w / s) in -127..127, one
/// float32 scale a row, s = max|w| / 127 (1 for a row of zeros). s is rounded to binary16 where
/// that has all its bits (from 6.1e-5 up), so that GGUF's Q8_0 holds the same numbers.
nn::Int8Weight quantize_int8(const at::Tensor& weight);

/// The tensors of an int8 embedding in a Hugging Face directory: `<name>` int8 [rows, features] and
/// `<name>_scale` float32 [rows, groups].
std::vector<io::NamedTensor> write_int8_embedding(const std::string& name,
                                                  const nn::Int8Weight& weight);
/// The inverse, without a copy. Throws Error when shapes or dtypes are off.
io::Int8Matrix read_int8_embedding(const std::string& name, const io::Checkpoint& stored);
/// The same as tensors over the file's memory.
nn::Int8Weight to_int8_weight(const io::Int8Matrix& matrix);

}  // namespace nibble
