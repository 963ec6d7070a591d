#include <nibble/core/error.h>
#include <nibble/nn/embedding.h>
#include <nibble/nn/parameters.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/export_source.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <set>

#include "dequantized_view.h"

namespace nibble {
namespace {

using nlohmann::json;

bool is_head(const std::string& path) { return path == "lm_head" || path.ends_with(".lm_head"); }

class ModuleSource final : public ExportSource {
 public:
  ModuleSource(const torch::nn::Module& model, const json& config, const io::Checkpoint* text)
      : text_(text) {
    Contents contents;
    contents.config = config;
    std::optional<nn::QuantizationSpec> spec;
    for (nn::LinearSite& site : nn::find_linears(const_cast<torch::nn::Module&>(model))) {
      const auto linear = std::dynamic_pointer_cast<nn::LinearImpl>(site.module);
      if (linear == nullptr || linear->state() != nn::LinearState::kQuantized) {
        contents.kept.push_back(site.path);
        continue;
      }
      NIBBLE_CHECK(!spec || *spec == *linear->spec(), site.path, " is quantized as ",
                   nn::to_string(*linear->spec()), ", others as ", nn::to_string(*spec),
                   "; a checkpoint holds one kind");
      spec = *linear->spec();
      contents.linears.push_back(
          {site.path, linear->options.out_features(), linear->options.in_features()});
      linears_.emplace(site.path, linear);
    }
    NIBBLE_CHECK(spec, "the model holds no quantized Linear; call convert() or quantize_() first");
    contents.spec = *spec;
    for (const auto& [name, parameter] : nn::unique_named_parameters(model)) {
      contents.parameters.push_back({name, parameter.sizes().vec(), parameter.scalar_type()});
      parameters_.emplace(name, parameter);
    }
    add_int8_weights(model, contents);
    set_contents(std::move(contents));
  }

  const io::Checkpoint* text() const override { return text_; }
  at::Tensor parameter(const std::string& name) const override {
    const auto found = int8_.find(name);
    return found == int8_.end() ? parameters_.at(name) : found->second.dequantize(at::kFloat);
  }
  nn::Int8Weight int8(const std::string& name) const override { return int8_.at(name); }
  std::shared_ptr<const nn::LinearImpl> linear(const std::string& path) const override {
    return linears_.at(path);
  }

 private:
  /// Each once, under its first name: a tied head is left out.
  void add_int8_weights(const torch::nn::Module& model, Contents& contents) {
    std::set<const void*> seen;
    for (const auto& module : model.named_modules()) {
      const nn::Int8Weight* weight = int8_weight_of(*module.value());
      if (weight == nullptr || !seen.insert(weight->codes.unsafeGetTensorImpl()).second) continue;
      const std::string name = module.key() + ".weight";
      contents.parameters.push_back(
          {name, weight->codes.sizes().vec(), at::kFloat, weight->scales.size(1)});
      int8_.emplace(name, *weight);
    }
  }

  static const nn::Int8Weight* int8_weight_of(const torch::nn::Module& module) {
    const nn::Int8Weight* weight = nullptr;
    if (const auto* embedding = module.as<nn::EmbeddingImpl>()) weight = &embedding->int8_weight;
    if (const auto* linear = module.as<nn::LinearImpl>()) weight = &linear->int8_weight;
    return weight != nullptr && weight->defined() ? weight : nullptr;
  }

  const io::Checkpoint* text_;
  std::map<std::string, at::Tensor> parameters_;
  std::map<std::string, nn::Int8Weight> int8_;
  std::map<std::string, std::shared_ptr<const nn::LinearImpl>> linears_;
};

class StoredSource final : public ExportSource {
 public:
  explicit StoredSource(const DequantizedView& view) : view_(view) {
    Contents contents;
    contents.config = view.config();
    contents.kept = view.kept();
    for (const std::string& path : view.linears()) {
      auto [spec, tensors] = view.linear(path);
      contents.spec = spec;
      contents.linears.push_back(
          {path, tensors.scales.size(0), tensors.scales.size(1) * spec.group_size});
    }
    for (const std::string& name : view.plain()) {
      if (const auto matrix = view.read_int8(name)) {
        contents.parameters.push_back(
            {name, matrix->codes.shape, at::kFloat, matrix->scales.shape.at(1)});
        continue;
      }
      const io::TensorData data = view.read(name);
      contents.parameters.push_back({name, data.shape, tensor_io::scalar_type_of(data.dtype)});
    }
    set_contents(std::move(contents));
  }

  const io::Checkpoint* text() const override { return &view_; }
  at::Tensor parameter(const std::string& name) const override {
    return tensor_io::to_tensor(view_.read(name));
  }
  nn::Int8Weight int8(const std::string& name) const override {
    return to_int8_weight(*view_.read_int8(name));
  }
  std::shared_ptr<const nn::LinearImpl> linear(const std::string& path) const override {
    auto [spec, tensors] = view_.linear(path);
    const int64_t columns = tensors.scales.size(1) * spec.group_size;
    auto linear = std::make_shared<nn::LinearImpl>(
        at::empty({tensors.scales.size(0), columns}, at::TensorOptions(at::kMeta)), at::Tensor());
    linear->load_quantized(spec, tensors.packed_weight, tensors.scales, tensors.zeros, at::kFloat);
    return linear;
  }

 private:
  const DequantizedView& view_;
};

}  // namespace

void ExportSource::set_contents(Contents contents) {
  const bool own_head =
      std::any_of(contents.linears.begin(), contents.linears.end(),
                  [](const QuantizedLinear& linear) { return is_head(linear.path); });
  if (own_head) contents.config["tie_word_embeddings"] = false;
  contents_ = std::move(contents);
}

std::unique_ptr<ExportSource> module_source(const torch::nn::Module& model, const json& config,
                                            const io::Checkpoint* text) {
  return std::make_unique<ModuleSource>(model, config, text);
}

nn::QuantizationSpec quantization_of(const io::Checkpoint& view) {
  return DequantizedView::of(view).spec();
}

std::unique_ptr<ExportSource> stored_source(const io::Checkpoint& checkpoint) {
  return std::make_unique<StoredSource>(DequantizedView::of(checkpoint));
}

}  // namespace nibble
