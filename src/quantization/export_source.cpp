#include <nibble/core/error.h>
#include <nibble/nn/parameters.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/export_source.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <algorithm>
#include <map>

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
    set_contents(std::move(contents));
  }

  const io::Checkpoint* text() const override { return text_; }
  at::Tensor parameter(const std::string& name) const override { return parameters_.at(name); }
  std::shared_ptr<const nn::LinearImpl> linear(const std::string& path) const override {
    return linears_.at(path);
  }

 private:
  const io::Checkpoint* text_;
  std::map<std::string, at::Tensor> parameters_;
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
      const io::TensorData data = view.read(name);
      contents.parameters.push_back({name, data.shape, tensor_io::scalar_type_of(data.dtype)});
    }
    set_contents(std::move(contents));
  }

  const io::Checkpoint* text() const override { return &view_; }
  at::Tensor parameter(const std::string& name) const override {
    return tensor_io::to_tensor(view_.read(name));
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
