#include "layouts.h"

#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <algorithm>

namespace nibble::layouts {
namespace {

using nlohmann::json;
using torch::Tensor;

at::ScalarType scale_dtype_from(const std::string& name) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    if (name == c10::toString(dtype)) return dtype;
  }
  fail("quantization_config: scale_dtype '", name, "', allowed: Float, BFloat16, Half");
}

io::NamedTensor named(const std::string& path, const char* suffix, const Tensor& tensor) {
  return {path + "." + suffix, tensor_io::to_tensor_data(tensor)};
}

Tensor read_tensor(const io::Checkpoint& checkpoint, const std::string& path, const char* suffix) {
  return tensor_io::to_tensor(checkpoint.read(path + "." + suffix)).clone();
}

/// The module's own buffers under their own names: any spec, exactly.
class NibbleLayout : public Layout {
 public:
  json config(const nn::QuantizationSpec& spec,
              const std::vector<std::string>& kept) const override {
    return {{"quant_method", "nibble"},
            {"scheme", nn::to_string(spec.scheme)},
            {"group_size", spec.group_size},
            {"grid", spec.grid == nn::WeightGrid::kSymmetric ? "symmetric" : "asymmetric"},
            {"scale_dtype", c10::toString(spec.scale_dtype)},
            {"ignore", kept}};
  }

  nn::QuantizationSpec spec(const json& config) const override {
    nn::QuantizationSpec spec;
    spec.scheme = nn::scheme_from_string(config.at("scheme").get<std::string>());
    spec.group_size = config.at("group_size").get<int64_t>();
    spec.grid =
        config.at("grid") == "symmetric" ? nn::WeightGrid::kSymmetric : nn::WeightGrid::kAsymmetric;
    spec.scale_dtype = scale_dtype_from(config.at("scale_dtype").get<std::string>());
    return spec;
  }

  std::vector<io::NamedTensor> write(const std::string& path,
                                     const nn::LinearImpl& linear) const override {
    std::vector<io::NamedTensor> tensors = {named(path, "packed_weight", linear.packed_weight),
                                            named(path, "scales", linear.scales)};
    if (linear.zeros.defined()) tensors.push_back(named(path, "zeros", linear.zeros));
    return tensors;
  }

  std::vector<std::string> suffixes() const override {
    return {"packed_weight", "scales", "zeros"};
  }

  QuantizedTensors read(const std::string& path, const io::Checkpoint& checkpoint,
                        nn::QuantizationSpec& spec) const override {
    QuantizedTensors tensors{read_tensor(checkpoint, path, "packed_weight"),
                             read_tensor(checkpoint, path, "scales"), Tensor()};
    if (spec.grid == nn::WeightGrid::kAsymmetric) {
      tensors.zeros = read_tensor(checkpoint, path, "zeros");
    }
    return tensors;
  }
};

/// compressed-tensors "pack-quantized": eight offset-binary codes an int32 word, the lowest column
/// in the lowest nibble. On a little-endian machine those are our bytes, padded to whole words.
/// Source: compressed-tensors 0.20, compressors/pack_quantized.
class CompressedTensorsLayout : public Layout {
 public:
  static constexpr int64_t kCodesPerWord = 8;
  static constexpr const char* kMethod = "compressed-tensors";
  static constexpr const char* kFormat = "pack-quantized";

  json config(const nn::QuantizationSpec& spec,
              const std::vector<std::string>& kept) const override {
    json activations = nullptr;
    if (spec.quantizes_activations()) {
      activations = {{"num_bits", 8},      {"type", "int"},   {"strategy", "token"},
                     {"symmetric", false}, {"dynamic", true}, {"group_size", nullptr}};
    }
    const json weights = {{"num_bits", 4},       {"type", "int"},
                          {"strategy", "group"}, {"group_size", spec.group_size},
                          {"symmetric", true},   {"dynamic", false}};
    const json group = {{"targets", {"Linear"}},
                        {"format", kFormat},
                        {"weights", weights},
                        {"input_activations", activations},
                        {"output_activations", nullptr}};
    return {{"quant_method", kMethod},
            {"format", kFormat},
            {"quantization_status", "compressed"},
            {"ignore", kept},
            {"kv_cache_scheme", nullptr},
            {"global_compression_ratio", nullptr},
            {"config_groups", {{"group_0", group}}}};
  }

  nn::QuantizationSpec spec(const json& config) const override {
    NIBBLE_CHECK(
        config.at("format") == kFormat && config.at("config_groups").size() == 1,
        "quantization_config: only compressed-tensors checkpoints with one config group of "
        "format pack-quantized are read");
    const json& group = config.at("config_groups").front();
    const json& weights = group.at("weights");
    NIBBLE_CHECK(weights.at("num_bits") == 4 && weights.at("symmetric") == true &&
                     weights.at("strategy") == "group",
                 "quantization_config: only symmetric int4 weights in groups are read");
    const json& activations = group.at("input_activations");
    NIBBLE_CHECK(activations.is_null() ||
                     (activations.at("num_bits") == 8 && activations.at("symmetric") == false &&
                      activations.at("strategy") == "token"),
                 "quantization_config: only asymmetric int8 per-token activations are read");
    nn::QuantizationSpec spec;
    spec.scheme = activations.is_null() ? nn::Scheme::k4w : nn::Scheme::k8da4w;
    spec.group_size = weights.at("group_size").get<int64_t>();
    spec.grid = nn::WeightGrid::kSymmetric;
    return spec;
  }

  std::vector<io::NamedTensor> write(const std::string& path,
                                     const nn::LinearImpl& linear) const override {
    const int64_t columns = linear.options.in_features();
    const Tensor codes = linear.codes();
    const int64_t padding = (kCodesPerWord - columns % kCodesPerWord) % kCodesPerWord;
    // The library fills the last word with zero bits; code -8 is stored as 0.
    const Tensor padded = torch::constant_pad_nd(codes, {0, padding}, -8);
    const Tensor words = ops::pack_int4(padded, true).view(torch::kInt32);
    const Tensor shape = torch::tensor({linear.options.out_features(), columns}, torch::kLong);
    return {named(path, "weight_packed", words), named(path, "weight_scale", linear.scales),
            named(path, "weight_shape", shape)};
  }

  std::vector<std::string> suffixes() const override {
    return {"weight_packed", "weight_scale", "weight_shape"};
  }

  QuantizedTensors read(const std::string& path, const io::Checkpoint& checkpoint,
                        nn::QuantizationSpec& spec) const override {
    const Tensor shape = read_tensor(checkpoint, path, "weight_shape");
    const Tensor words = read_tensor(checkpoint, path, "weight_packed");
    NIBBLE_CHECK(shape.dim() == 1 && shape.numel() == 2 && shape.scalar_type() == torch::kLong,
                 path, ".weight_shape must be int64 [2], got ", shape.scalar_type(), " ",
                 shape.sizes());
    const int64_t columns = shape[1].item<int64_t>();
    NIBBLE_CHECK(words.dim() == 2 && words.scalar_type() == torch::kInt32 && columns > 0 &&
                     words.size(1) == (columns + kCodesPerWord - 1) / kCodesPerWord,
                 path, ".weight_packed must be int32 [rows, ceil(", columns, " / 8)], got ",
                 words.scalar_type(), " ", words.sizes());
    const Tensor codes =
        ops::unpack_int4(words.view(torch::kByte), words.size(1) * kCodesPerWord, true)
            .narrow(1, 0, columns);
    Tensor scales = read_tensor(checkpoint, path, "weight_scale");
    spec.scale_dtype = scales.scalar_type();
    return {ops::pack_int4(codes, true), std::move(scales), Tensor()};
  }
};

}  // namespace

std::unique_ptr<Layout> for_spec(const nn::QuantizationSpec& spec) {
  if (spec.grid == nn::WeightGrid::kSymmetric) return std::make_unique<CompressedTensorsLayout>();
  return std::make_unique<NibbleLayout>();
}

std::unique_ptr<Layout> for_config(const json& config) {
  const std::string method = config.value("quant_method", "");
  if (method == CompressedTensorsLayout::kMethod)
    return std::make_unique<CompressedTensorsLayout>();
  if (method == "nibble") return std::make_unique<NibbleLayout>();
  fail("quantization_config: quant_method '", method, "', readable: compressed-tensors, nibble");
}

}  // namespace nibble::layouts
