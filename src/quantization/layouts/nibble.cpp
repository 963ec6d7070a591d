#include <nibble/core/error.h>
#include <nibble/numerics/pack_int4.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include "layout.h"

namespace nibble::layouts {
namespace {

using nlohmann::json;

at::ScalarType scale_dtype_from(const std::string& name) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    if (name == c10::toString(dtype)) return dtype;
  }
  fail("quantization_config: scale_dtype '", name, "', allowed: Float, BFloat16, Half");
}

class NibbleLayout final : public Layout {
 public:
  const char* name() const override { return "nibble"; }
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

  std::vector<io::TensorInfo> describe(const std::string& path, int64_t rows, int64_t columns,
                                       const nn::QuantizationSpec& spec) const override {
    const io::DType scales = tensor_io::dtype_of(spec.scale_dtype);
    const std::vector<int64_t> groups = {rows, columns / spec.group_size};
    std::vector<io::TensorInfo> tensors = {
        info(path, "packed_weight", io::DType::kU8, {rows, numerics::packed_row_bytes(columns)}),
        info(path, "scales", scales, groups)};
    if (spec.grid == nn::WeightGrid::kAsymmetric) {
      tensors.push_back(info(path, "zeros", scales, groups));
    }
    return tensors;
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
    QuantizedTensors tensors{read_tensor(checkpoint, path, "packed_weight", at::kByte, 2),
                             read_tensor(checkpoint, path, "scales", spec.scale_dtype, 2),
                             torch::Tensor()};
    if (spec.grid == nn::WeightGrid::kAsymmetric) {
      tensors.zeros = read_tensor(checkpoint, path, "zeros", spec.scale_dtype, 2);
    }
    return tensors;
  }
};

}  // namespace

std::unique_ptr<Layout> nibble_layout() { return std::make_unique<NibbleLayout>(); }

}  // namespace nibble::layouts
