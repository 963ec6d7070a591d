#include <nibble/core/error.h>
#include <nibble/nn/embedding.h>
#include <nibble/nn/parameters.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/export_source.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <map>
#include <set>

namespace nibble {
namespace {

constexpr const char* kWeightSuffix = ".weight";

/// The first name of every parameter by its identity: a tied weight has that of the embedding.
std::map<const at::TensorImpl*, std::string> first_names(const torch::nn::Module& model) {
  std::map<const at::TensorImpl*, std::string> names;
  for (const auto& [name, parameter] : nn::unique_named_parameters(model)) {
    names.emplace(parameter.unsafeGetTensorImpl(), name);
  }
  return names;
}

class QuantizingSource final : public ExportSource {
 public:
  QuantizingSource(const io::Checkpoint& checkpoint, torch::nn::Module& structure,
                   const QATQuantizer& quantizer, at::ScalarType dtype)
      : checkpoint_(checkpoint), dtype_(dtype) {
    const auto names = first_names(structure);
    for (const auto& [name, parameter] : nn::unique_named_parameters(structure)) {
      shapes_.emplace(name, parameter.sizes().vec());
    }
    std::map<std::string, std::string> weight_names;
    for (const nn::LinearSite& site : nn::find_linears(structure)) {
      weight_names.emplace(site.path, names.at(site.weight().unsafeGetTensorImpl()));
    }
    const QuantizationReport report = quantizer.prepare(structure);

    Contents contents;
    contents.config = checkpoint.config();
    for (const LayerReport& layer : report.layers) {
      if (!layer.swapped) {
        contents.kept.push_back(layer.path);
        continue;
      }
      contents.linears.push_back({layer.path, layer.out_features, layer.in_features});
      stored_names_.emplace(layer.path, weight_names.at(layer.path));
    }
    contents.spec = common_spec(structure);
    find_fake_quantized_embeddings(structure);
    add_parameters(structure, contents);
    set_contents(std::move(contents));
  }

  const io::Checkpoint* text() const override { return &checkpoint_; }

  at::Tensor parameter(const std::string& name) const override {
    const at::Tensor stored = read(name);
    const auto linear_path = embeddings_.find(name);
    if (linear_path == embeddings_.end()) return stored;
    // What EmbeddingImpl::convert() keeps: the values of the codes.
    return linear(linear_path->second)->effective_weight();
  }

  nn::Int8Weight int8(const std::string& name) const override {
    return to_int8_weight(*checkpoint_.read_int8(name));
  }

  std::shared_ptr<const nn::LinearImpl> linear(const std::string& path) const override {
    auto linear =
        std::make_shared<nn::LinearImpl>(read(stored_names_.at(path)).to(dtype_), at::Tensor());
    try {
      linear->prepare(contents().spec);
      linear->convert();
    } catch (const Error& error) {
      fail(path, ": ", error.what());
    }
    return linear;
  }

 private:
  static nn::QuantizationSpec common_spec(torch::nn::Module& structure) {
    std::optional<nn::QuantizationSpec> spec;
    for (const nn::LinearSite& site : nn::find_linears(structure)) {
      const auto* linear = dynamic_cast<const nn::LinearImpl*>(site.module.get());
      if (linear == nullptr || !linear->spec()) continue;
      NIBBLE_CHECK(!spec || *spec == *linear->spec(), site.path, " would be quantized as ",
                   nn::to_string(*linear->spec()), ", others as ", nn::to_string(*spec),
                   "; a checkpoint holds one kind");
      spec = linear->spec();
    }
    return *spec;  // prepare() throws where there is none
  }

  /// TiedWeight::kBoth: the embedding keeps the values of the Linear that shares its weight.
  void find_fake_quantized_embeddings(const torch::nn::Module& structure) {
    for (const auto& module : structure.named_modules()) {
      const auto* embedding = module.value()->as<nn::EmbeddingImpl>();
      if (embedding == nullptr || !embedding->spec()) continue;
      const std::string name = module.key() + kWeightSuffix;
      for (const auto& [path, stored] : stored_names_) {
        if (stored == name) embeddings_.emplace(name, path);
      }
    }
  }

  void add_parameters(const torch::nn::Module& structure, Contents& contents) const {
    std::set<std::string> weights;
    for (const auto& linear : contents.linears) weights.insert(linear.path + kWeightSuffix);
    for (const auto& [name, parameter] : nn::unique_named_parameters(structure)) {
      if (weights.count(name) != 0) continue;
      const bool is_embedding = embeddings_.count(name) != 0;
      if (const auto matrix = checkpoint_.read_int8(name); matrix && !is_embedding) {
        contents.parameters.push_back(
            {name, matrix->codes.shape, at::kFloat, matrix->scales.shape.at(1)});
        continue;
      }
      const at::ScalarType dtype =
          is_embedding ? dtype_ : tensor_io::scalar_type_of(checkpoint_.read(name).dtype);
      contents.parameters.push_back({name, parameter.sizes().vec(), dtype});
    }
  }

  at::Tensor read(const std::string& name) const {
    const at::Tensor stored = tensor_io::to_tensor(checkpoint_.read(name));
    NIBBLE_CHECK(stored.is_floating_point(), checkpoint_.path().string(), ": ", name,
                 " is stored as ", stored.scalar_type(), "; a parameter must be floating point");
    NIBBLE_CHECK(stored.sizes() == shapes_.at(name), checkpoint_.path().string(), ": ", name,
                 " has shape ", stored.sizes(), "; the configuration needs ",
                 at::IntArrayRef(shapes_.at(name)));
    return stored;
  }

  const io::Checkpoint& checkpoint_;
  at::ScalarType dtype_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<std::string, std::string> stored_names_;  ///< path of a Linear -> its weight's name
  std::map<std::string, std::string> embeddings_;    ///< name of a weight -> path of a Linear
};

}  // namespace

std::unique_ptr<ExportSource> quantizing_source(const io::Checkpoint& checkpoint,
                                                torch::nn::Module& structure,
                                                const QATQuantizer& quantizer,
                                                at::ScalarType dtype) {
  return std::make_unique<QuantizingSource>(checkpoint, structure, quantizer, dtype);
}

}  // namespace nibble
