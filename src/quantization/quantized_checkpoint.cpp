#include <nibble/core/error.h>
#include <nibble/nn/swap.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <set>

#include "layouts.h"

namespace nibble {
namespace {

using nlohmann::json;

constexpr const char* kConfigKey = "quantization_config";
constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kScale = "_scale";

class DequantizedView : public io::Checkpoint {
 public:
  explicit DequantizedView(std::unique_ptr<io::Checkpoint> stored)
      : stored_(std::move(stored)), config_(stored_->config()) {
    const json quantization = config_.at(kConfigKey);
    config_.erase(kConfigKey);
    try {
      layout_ = layouts::for_config(quantization);
      spec_ = layout_->spec(quantization);
    } catch (const json::exception& error) {
      fail(stored_->path().string(), ": malformed quantization_config: ", error.what());
    }
    find_quantized();
  }

  const std::filesystem::path& path() const override { return stored_->path(); }
  const json& config() const override { return config_; }
  std::vector<std::string> tensor_names() const override {
    std::vector<std::string> names(plain_.begin(), plain_.end());
    for (const std::string& path : linears_) names.push_back(path + std::string(kWeight));
    return names;
  }
  bool contains(const std::string& name) const override {
    return plain_.count(name) != 0 || linears_.count(linear_of(name)) != 0;
  }
  io::TensorData read(const std::string& name) const override {
    if (linears_.count(linear_of(name)) != 0) return dequantize_linear(linear_of(name));
    if (stored_->contains(name + std::string(kScale))) return dequantize_embedding(name);
    return stored_->read(name);
  }
  std::string tokenizer_json() const override { return stored_->tokenizer_json(); }
  std::optional<std::string> chat_template() const override { return stored_->chat_template(); }
  const json& tokenizer_config() const override { return stored_->tokenizer_config(); }
  const json& generation_config() const override { return stored_->generation_config(); }

  const std::set<std::string>& linears() const { return linears_; }
  /// The stored tensors of one Linear, and the spec with its scale dtype.
  std::pair<nn::QuantizationSpec, layouts::QuantizedTensors> linear(const std::string& path) const {
    nn::QuantizationSpec spec = spec_;
    layouts::QuantizedTensors tensors = layout_->read(path, *stored_, spec);
    return {spec, std::move(tensors)};
  }

 private:
  static std::string linear_of(const std::string& name) {
    return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : std::string();
  }

  void find_quantized() {
    const std::vector<std::string> suffixes = layout_->suffixes();
    const std::string marker = "." + suffixes.front();
    const std::vector<std::string> names = stored_->tensor_names();
    for (const std::string& name : names) {
      if (name.ends_with(marker)) linears_.insert(name.substr(0, name.size() - marker.size()));
    }
    NIBBLE_CHECK(!linears_.empty(), stored_->path().string(),
                 " has a quantization_config but no tensor named *", marker);
    for (const std::string& name : names) {
      if (!belongs_to_linear(name, suffixes) && !is_embedding_scale(name)) plain_.insert(name);
    }
  }

  bool belongs_to_linear(const std::string& name, const std::vector<std::string>& suffixes) const {
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos || linears_.count(name.substr(0, dot)) == 0) return false;
    const std::string suffix = name.substr(dot + 1);
    return std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
  }

  bool is_embedding_scale(const std::string& name) const {
    return name.ends_with(kScale) && stored_->contains(name.substr(0, name.size() - kScale.size()));
  }

  io::TensorData dequantize_linear(const std::string& path) const {
    const auto [spec, tensors] = linear(path);
    const bool symmetric = spec.grid == nn::WeightGrid::kSymmetric;
    const int64_t columns = tensors.scales.size(1) * spec.group_size;
    const torch::Tensor codes = ops::unpack_int4(tensors.packed_weight, columns, symmetric);
    return tensor_io::to_tensor_data(ops::dequantize_weight(
        codes, tensors.scales, symmetric ? std::nullopt : std::optional(tensors.zeros), symmetric,
        at::kFloat));
  }

  io::TensorData dequantize_embedding(const std::string& name) const {
    return tensor_io::to_tensor_data(
        read_int8_embedding(name, tensor_io::to_tensor(stored_->read(name)),
                            tensor_io::to_tensor(stored_->read(name + std::string(kScale)))));
  }

  std::unique_ptr<io::Checkpoint> stored_;
  json config_;
  std::unique_ptr<layouts::Layout> layout_;
  nn::QuantizationSpec spec_;
  std::set<std::string> linears_;
  std::set<std::string> plain_;
};

}  // namespace

bool is_quantized_checkpoint(const io::Checkpoint& checkpoint) {
  return checkpoint.config().contains(kConfigKey);
}

std::unique_ptr<io::Checkpoint> dequantized_view(std::unique_ptr<io::Checkpoint> checkpoint) {
  return std::make_unique<DequantizedView>(std::move(checkpoint));
}

void restore_quantization(torch::nn::Module& model, const io::Checkpoint& checkpoint) {
  const auto* view = dynamic_cast<const DequantizedView*>(&checkpoint);
  NIBBLE_CHECK(view != nullptr, checkpoint.path().string(), " is not a view of a quantized ",
               "checkpoint (dequantized_view)");
  torch::NoGradGuard no_grad;
  std::set<std::string> missing = view->linears();
  for (const nn::LinearSite& site : nn::find_linears(model)) {
    if (missing.erase(site.path) == 0) continue;
    auto* linear = dynamic_cast<nn::LinearImpl*>(site.module.get());
    NIBBLE_CHECK(linear != nullptr, site.path,
                 " is a torch::nn::Linear; only nibble::nn::Linear "
                 "can be switched to stored codes");
    auto [spec, tensors] = view->linear(site.path);
    linear->load_quantized(spec, tensors.packed_weight, tensors.scales, tensors.zeros,
                           linear->weight.scalar_type());
  }
  NIBBLE_CHECK(missing.empty(), checkpoint.path().string(), " quantizes ", *missing.begin(),
               ", which the model does not have");
}

}  // namespace nibble
