#pragma once

#include <nibble/quantization/export.h>

#include <string>

#include "layouts/layout.h"

namespace nibble {

/// Whether a parameter is an embedding or an output projection.
bool may_be_int8(const std::string& name);

/// A Hugging Face directory whose Linears lie in `layout`.
ExportReport write_quantized_directory(const ExportSource& source, const layouts::Layout& layout,
                                       const std::filesystem::path& directory,
                                       const ExportOptions& options);
/// A Hugging Face directory of bfloat16 weights.
ExportReport write_dequantized_directory(const ExportSource& source,
                                         const std::filesystem::path& directory,
                                         const ExportOptions& options);
ExportReport write_gguf(const ExportSource& source, const std::filesystem::path& path,
                        const ExportOptions& options);

/// The values of a quantized Linear's codes, [out, in] in `dtype`.
at::Tensor dequantized_weight(const nn::LinearImpl& linear, at::ScalarType dtype);

/// max |stored - trained| / |trained| where trained is not 0.
double largest_relative_error(const at::Tensor& stored, const at::Tensor& trained);

}  // namespace nibble
