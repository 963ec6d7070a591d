#include <nibble/core/error.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include "torchao.h"

namespace nibble::layouts {
namespace {

using nlohmann::json;
using torch::Tensor;

constexpr char kDynamicActivation[] = "Int8DynamicActivationIntxWeightConfig";
constexpr char kWeightOnly[] = "IntxWeightOnlyConfig";
constexpr char kCodes[] = "_weight_qdata";
constexpr char kScale[] = "_weight_scale";
constexpr char kZeroPoint[] = "_weight_zero_point";

/// A byte a code, and integer zero points, which are 0 here.
class TorchAOIntxLayout final : public Layout {
 public:
  const char* name() const override { return "IntxUnpackedToInt8Tensor"; }
  json config(const nn::QuantizationSpec& spec,
              const std::vector<std::string>& kept) const override {
    const bool dynamic = spec.quantizes_activations();
    const json granularity = {
        {"_type", "PerGroup"}, {"_version", 1}, {"_data", {{"group_size", spec.group_size}}}};
    const json symmetric = tagged("MappingType", "SYMMETRIC");
    json data = {{"weight_dtype", tagged("torch.dtype", "int4")},
                 {"intx_packing_format", tagged("IntxPackingFormat", "UNPACKED_TO_INT8")},
                 {"intx_choose_qparams_algorithm", tagged("IntxChooseQParamsAlgorithm", "AFFINE")}};
    data[dynamic ? "weight_granularity" : "granularity"] = granularity;
    data[dynamic ? "weight_mapping_type" : "mapping_type"] = symmetric;
    data[dynamic ? "weight_scale_dtype" : "scale_dtype"] = nullptr;
    if (dynamic) data["act_mapping_type"] = tagged("MappingType", "ASYMMETRIC");
    return torchao_config(
        {{"_type", dynamic ? kDynamicActivation : kWeightOnly}, {"_version", 2}, {"_data", data}},
        kept);
  }

  nn::QuantizationSpec spec(const json& config) const override {
    const json& quantizer = config.at("quant_type").at("default");
    const std::string type = quantizer.at("_type").get<std::string>();
    NIBBLE_CHECK(type == kDynamicActivation || type == kWeightOnly,
                 "quantization_config: TorchAO's ", type, ", readable: ", kDynamicActivation, ", ",
                 kWeightOnly, ", Int4WeightOnlyConfig");
    const bool dynamic = type == kDynamicActivation;
    const json& data = quantizer.at("_data");
    const json& granularity = data.at(dynamic ? "weight_granularity" : "granularity");
    NIBBLE_CHECK(data.at("weight_dtype").at("_data") == "int4" &&
                     granularity.at("_type") == "PerGroup" &&
                     data.at("intx_packing_format").at("_data") == "UNPACKED_TO_INT8" &&
                     (!dynamic || data.at("act_mapping_type").at("_data") == "ASYMMETRIC"),
                 "quantization_config: of TorchAO's ", type, " only int4 weights in groups, ",
                 "UNPACKED_TO_INT8, with asymmetric activations, are read");
    nn::QuantizationSpec spec;
    spec.scheme = dynamic ? nn::Scheme::k8da4w : nn::Scheme::k4w;
    spec.group_size = granularity.at("_data").at("group_size").get<int64_t>();
    spec.grid = nn::WeightGrid::kSymmetric;
    return spec;
  }

  std::vector<io::TensorInfo> describe(const std::string& path, int64_t rows, int64_t columns,
                                       const nn::QuantizationSpec& spec) const override {
    const std::vector<int64_t> groups = {rows, columns / spec.group_size};
    return {info(path, kCodes, io::DType::kI8, {rows, columns}),
            info(path, kScale, tensor_io::dtype_of(spec.scale_dtype), groups),
            info(path, kZeroPoint, io::DType::kI8, groups)};
  }

  std::vector<io::NamedTensor> write(const std::string& path,
                                     const nn::LinearImpl& linear) const override {
    return {named(path, kCodes, linear.codes()), named(path, kScale, linear.scales),
            named(path, kZeroPoint, torch::zeros_like(linear.scales, torch::kChar))};
  }

  std::vector<std::string> suffixes() const override { return {kCodes, kScale, kZeroPoint}; }
  bool takes_int8_embedding() const override { return false; }

  QuantizedTensors read(const std::string& path, const io::Checkpoint& checkpoint,
                        nn::QuantizationSpec& spec) const override {
    const Tensor codes = read_tensor(checkpoint, path, kCodes, at::kChar, 2);
    Tensor scales = read_scales(checkpoint, path, kScale, codes.size(0), codes.size(1), spec);
    const Tensor zeros = read_tensor(checkpoint, path, kZeroPoint, at::kChar, 2);
    NIBBLE_CHECK(zeros.sizes() == scales.sizes() && zeros.eq(0).all().item<bool>(), path, ".",
                 kZeroPoint, " is not zero everywhere; only symmetric weights are read");
    return {pack_codes(codes, path + "." + kCodes), std::move(scales), Tensor()};
  }

  std::map<std::string, std::string> metadata(const std::vector<io::TensorGroup>& groups,
                                              const nn::QuantizationSpec& spec,
                                              at::ScalarType dtype) const override {
    const json description = {
        {"_type", "IntxUnpackedToInt8Tensor"},
        {"_data",
         {{"target_dtype", tagged("torch.dtype", "int4")},
          {"block_size", {1, spec.group_size}},
          {"dtype", tagged("torch.dtype", tensor_io::torch_name(dtype))},
          {"activation_quantization",
           spec.quantizes_activations() ? json("int8_asym_per_token") : json(nullptr)}}},
        {"_tensor_data_names", {"qdata", "scale", "zero_point"}}};
    return torchao_metadata(groups, kCodes, [&](const io::TensorGroup&) { return description; });
  }
};

}  // namespace

std::unique_ptr<Layout> torchao_intx_layout() { return std::make_unique<TorchAOIntxLayout>(); }

}  // namespace nibble::layouts
