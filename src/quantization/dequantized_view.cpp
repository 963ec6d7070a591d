#include "dequantized_view.h"

#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <algorithm>

namespace nibble {
namespace {

using nlohmann::json;

constexpr const char* kConfigKey = "quantization_config";
constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kScale = "_scale";

/// "a.b" of "a.b.weight"; empty for other names.
std::string linear_of(const std::string& name) {
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : std::string();
}

/// The names that a quantization_config lists as not quantized.
std::vector<std::string> listed_as_kept(const json& quantization) {
  for (const char* key : {"ignore", "modules_to_not_convert"}) {
    const auto found = quantization.find(key);
    if (found != quantization.end() && found->is_array()) {
      return found->get<std::vector<std::string>>();
    }
  }
  return {};
}

}  // namespace

DequantizedView::DequantizedView(std::unique_ptr<io::Checkpoint> stored)
    : stored_(std::move(stored)), config_(stored_->config()) {
  const json quantization = config_.at(kConfigKey);
  config_.erase(kConfigKey);
  try {
    layout_ = layouts::for_config(quantization);
    spec_ = layout_->spec(quantization);
    kept_ = listed_as_kept(quantization);
  } catch (const json::exception& error) {
    fail(stored_->path().string(), ": malformed quantization_config: ", error.what());
  }
  find_quantized();
}

const DequantizedView& DequantizedView::of(const io::Checkpoint& checkpoint) {
  const auto* view = dynamic_cast<const DequantizedView*>(&checkpoint);
  NIBBLE_CHECK(view != nullptr, checkpoint.path().string(),
               " is not a view of a quantized checkpoint (dequantized_view)");
  return *view;
}

std::vector<std::string> DequantizedView::tensor_names() const {
  std::vector<std::string> names(plain_.begin(), plain_.end());
  for (const std::string& path : linears_) names.push_back(path + std::string(kWeight));
  return names;
}

bool DequantizedView::contains(const std::string& name) const {
  return plain_.count(name) != 0 || linears_.count(linear_of(name)) != 0;
}

io::StoredTensor DequantizedView::stored(const std::string& name) const {
  const std::string path = linear_of(name);
  const bool is_quantized = linears_.count(path) != 0;
  return stored_->stored(is_quantized ? path + "." + layout_->suffixes().front() : name);
}

io::TensorData DequantizedView::read(const std::string& name) const {
  if (linears_.count(linear_of(name)) != 0) return dequantize_linear(linear_of(name));
  if (const auto matrix = read_int8(name)) {
    return tensor_io::to_tensor_data(to_int8_weight(*matrix).dequantize(at::kFloat));
  }
  return stored_->read(name);
}

std::optional<io::Int8Matrix> DequantizedView::read_int8(const std::string& name) const {
  NIBBLE_CHECK(contains(name), path().string(), ": no tensor named \"", name, "\"");
  if (plain_.count(name) == 0 || !stored_->contains(name + std::string(kScale))) {
    return std::nullopt;
  }
  return read_int8_embedding(name, *stored_);
}

std::pair<nn::QuantizationSpec, layouts::QuantizedTensors> DequantizedView::linear(
    const std::string& path) const {
  nn::QuantizationSpec spec = spec_;
  layouts::QuantizedTensors tensors = layout_->read(path, *stored_, spec);
  return {spec, std::move(tensors)};
}

void DequantizedView::find_quantized() {
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

bool DequantizedView::belongs_to_linear(const std::string& name,
                                        const std::vector<std::string>& suffixes) const {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || linears_.count(name.substr(0, dot)) == 0) return false;
  const std::string suffix = name.substr(dot + 1);
  return std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

bool DequantizedView::is_embedding_scale(const std::string& name) const {
  return name.ends_with(kScale) && stored_->contains(name.substr(0, name.size() - kScale.size()));
}

io::TensorData DequantizedView::dequantize_linear(const std::string& path) const {
  const auto [spec, tensors] = linear(path);
  const bool symmetric = spec.grid == nn::WeightGrid::kSymmetric;
  const int64_t columns = tensors.scales.size(1) * spec.group_size;
  const torch::Tensor codes = ops::unpack_int4(tensors.packed_weight, columns, symmetric);
  return tensor_io::to_tensor_data(ops::dequantize_weight(
      codes, tensors.scales, symmetric ? std::nullopt : std::optional(tensors.zeros), symmetric,
      at::kFloat));
}

}  // namespace nibble
