#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include "layout.h"

namespace nibble::layouts {
namespace {

using nlohmann::json;
using torch::Tensor;

constexpr int64_t kCodesPerWord = 8;

int64_t words_of(int64_t columns) { return (columns + kCodesPerWord - 1) / kCodesPerWord; }

/// What the formats of compressed-tensors share: symmetric int4 groups, asymmetric dynamic int8
/// activations. Source: compressed-tensors 0.20, quantization/quant_args.py.
class CompressedTensorsLayout : public Layout {
 public:
  const char* name() const override { return format_; }
  explicit CompressedTensorsLayout(const char* format) : format_(format) {}

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
                        {"format", format_},
                        {"weights", weights},
                        {"input_activations", activations},
                        {"output_activations", nullptr}};
    return {{"quant_method", "compressed-tensors"}, {"format", format_},
            {"quantization_status", "compressed"},  {"ignore", kept},
            {"kv_cache_scheme", nullptr},           {"global_compression_ratio", nullptr},
            {"config_groups", {{"group_0", group}}}};
  }

  nn::QuantizationSpec spec(const json& config) const override {
    NIBBLE_CHECK(config.at("config_groups").size() == 1,
                 "quantization_config: only compressed-tensors checkpoints with one config group "
                 "are read");
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

 private:
  const char* format_;
};

/// Eight offset-binary codes an int32 word, the lowest column in the lowest nibble. On a
/// little-endian machine those are our bytes, padded to whole words.
class PackQuantizedLayout final : public CompressedTensorsLayout {
 public:
  PackQuantizedLayout() : CompressedTensorsLayout("pack-quantized") {}

  std::vector<io::TensorInfo> describe(const std::string& path, int64_t rows, int64_t columns,
                                       const nn::QuantizationSpec& spec) const override {
    return {info(path, "weight_packed", io::DType::kI32, {rows, words_of(columns)}),
            info(path, "weight_scale", tensor_io::dtype_of(spec.scale_dtype),
                 {rows, columns / spec.group_size}),
            info(path, "weight_shape", io::DType::kI64, {2})};
  }

  std::vector<io::NamedTensor> write(const std::string& path,
                                     const nn::LinearImpl& linear) const override {
    const int64_t columns = linear.options.in_features();
    const int64_t padding = words_of(columns) * kCodesPerWord - columns;
    // The library fills the last word with zero bits; code -8 is stored as 0.
    const Tensor padded = torch::constant_pad_nd(linear.codes(), {0, padding}, -8);
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
    const Tensor shape = read_tensor(checkpoint, path, "weight_shape", at::kLong, 1);
    const Tensor words = read_tensor(checkpoint, path, "weight_packed", at::kInt, 2);
    NIBBLE_CHECK(shape.numel() == 2, path, ".weight_shape must hold 2 numbers, got ",
                 shape.numel());
    const int64_t rows = shape[0].item<int64_t>(), columns = shape[1].item<int64_t>();
    NIBBLE_CHECK(columns > 0 && words.size(0) == rows && words.size(1) == words_of(columns), path,
                 ".weight_packed must be [", rows, ", ceil(", columns, " / 8)], got ",
                 words.sizes());
    const Tensor codes =
        ops::unpack_int4(words.view(torch::kByte), words.size(1) * kCodesPerWord, true)
            .narrow(1, 0, columns);
    Tensor scales = read_scales(checkpoint, path, "weight_scale", rows, columns, spec);
    return {ops::pack_int4(codes, true), std::move(scales), Tensor()};
  }
};

/// A byte a code, two's complement.
class IntQuantizedLayout final : public CompressedTensorsLayout {
 public:
  IntQuantizedLayout() : CompressedTensorsLayout("int-quantized") {}

  std::vector<io::TensorInfo> describe(const std::string& path, int64_t rows, int64_t columns,
                                       const nn::QuantizationSpec& spec) const override {
    return {info(path, "weight", io::DType::kI8, {rows, columns}),
            info(path, "weight_scale", tensor_io::dtype_of(spec.scale_dtype),
                 {rows, columns / spec.group_size})};
  }

  std::vector<io::NamedTensor> write(const std::string& path,
                                     const nn::LinearImpl& linear) const override {
    return {named(path, "weight", linear.codes()), named(path, "weight_scale", linear.scales)};
  }

  // A weight alone marks nothing: norms and embeddings have one too.
  std::vector<std::string> suffixes() const override { return {"weight_scale", "weight"}; }
  // Its name for the embedding's scale would mark a Linear.
  bool takes_int8_embedding() const override { return false; }

  QuantizedTensors read(const std::string& path, const io::Checkpoint& checkpoint,
                        nn::QuantizationSpec& spec) const override {
    const Tensor codes = read_tensor(checkpoint, path, "weight", at::kChar, 2);
    Tensor scales =
        read_scales(checkpoint, path, "weight_scale", codes.size(0), codes.size(1), spec);
    return {pack_codes(codes, path + ".weight"), std::move(scales), Tensor()};
  }
};

}  // namespace

std::unique_ptr<Layout> pack_quantized_layout() { return std::make_unique<PackQuantizedLayout>(); }
std::unique_ptr<Layout> int_quantized_layout() { return std::make_unique<IntQuantizedLayout>(); }

}  // namespace nibble::layouts
