#include <nibble/core/error.h>
#include <nibble/nn/quantization_spec.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include "layout.h"

namespace nibble::layouts {

using nlohmann::json;
using torch::Tensor;

std::map<std::string, std::string> Layout::metadata(const std::vector<io::TensorGroup>&,
                                                    const nn::QuantizationSpec&,
                                                    at::ScalarType) const {
  return {{"format", "pt"}};
}

std::unique_ptr<Layout> for_config(const json& config) {
  const std::string method = config.value("quant_method", "");
  if (method == "nibble") return nibble_layout();
  if (method == "compressed-tensors") {
    const std::string format = config.value("format", "");
    if (format == "pack-quantized") return pack_quantized_layout();
    if (format == "int-quantized") return int_quantized_layout();
    fail("quantization_config: compressed-tensors format '", format,
         "', readable: pack-quantized, int-quantized");
  }
  if (method == "torchao") {
    const json& type = config.at("quant_type").at("default").at("_type");
    if (type == "Int4WeightOnlyConfig") return torchao_tile_packed_layout();
    return torchao_intx_layout();
  }
  fail("quantization_config: quant_method '", method,
       "', readable: compressed-tensors, torchao, nibble");
}

io::NamedTensor named(const std::string& path, const char* suffix, const Tensor& tensor) {
  return {path + "." + suffix, tensor_io::to_tensor_data(tensor)};
}

io::TensorInfo info(const std::string& path, const char* suffix, io::DType dtype,
                    std::vector<int64_t> shape) {
  return {path + "." + suffix, dtype, std::move(shape)};
}

Tensor read_tensor(const io::Checkpoint& checkpoint, const std::string& path, const char* suffix,
                   at::ScalarType dtype, int64_t rank) {
  const std::string name = path + "." + suffix;
  const Tensor tensor = tensor_io::to_tensor(checkpoint.read(name));
  NIBBLE_CHECK(tensor.scalar_type() == dtype && tensor.dim() == rank, checkpoint.path().string(),
               ": ", name, " must be ", c10::toString(dtype), " of rank ", rank, ", got ",
               c10::toString(tensor.scalar_type()), " ", tensor.sizes());
  return tensor.clone();
}

Tensor read_scales(const io::Checkpoint& checkpoint, const std::string& path, const char* suffix,
                   int64_t rows, int64_t columns, nn::QuantizationSpec& spec) {
  const std::string name = path + "." + suffix;
  Tensor scales = tensor_io::to_tensor(checkpoint.read(name)).clone();
  spec.scale_dtype = scales.scalar_type();
  nn::check_spec(spec, columns);
  const int64_t group = spec.group_size == nn::kPerChannel ? columns : spec.group_size;
  NIBBLE_CHECK(scales.dim() == 2 && scales.size(0) == rows && scales.size(1) == columns / group,
               checkpoint.path().string(), ": ", name, " must be [", rows, ", ", columns / group,
               "], got ", scales.sizes());
  return scales;
}

Tensor pack_codes(const Tensor& codes, const std::string& name) {
  NIBBLE_CHECK(
      codes.numel() == 0 || (codes.min().item<int>() >= -8 && codes.max().item<int>() <= 7), name,
      " holds integers outside -8..7");
  return ops::pack_int4(codes, /*symmetric=*/true);
}

}  // namespace nibble::layouts
