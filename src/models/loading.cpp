#include <nibble/core/error.h>
#include <nibble/models/loading.h>
#include <nibble/models/registry.h>
#include <nibble/models/structure.h>
#include <nibble/nn/embedding.h>
#include <nibble/nn/linear.h>
#include <nibble/tensor_io/tensor_data.h>

#include <ATen/Functions.h>
#include <torch/cuda.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "stored_names.h"

namespace nibble {
namespace models {
namespace {

/// Buffers that old checkpoints store although the configuration determines them.
bool is_derived(const std::string& name) { return name.ends_with(".rotary_emb.inv_freq"); }

std::string list(const std::vector<std::string>& names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += "\n  " + names[i];
  if (names.size() > kShown) {
    text += "\n  and " + std::to_string(names.size() - kShown) + " more";
  }
  return text;
}

std::set<std::string> expected_names(const io::Checkpoint& checkpoint, const std::string& origin) {
  std::set<std::string> names;
  make_model(checkpoint.config(), origin,
             ParameterSource([&](const std::string& name, at::IntArrayRef shape) {
               names.insert(name);
               return at::empty(shape, at::TensorOptions(at::kMeta));
             }));
  return names;
}

/// A tied lm_head may be stored too, but only with the embedding's values.
void check_stored_head(const io::Checkpoint& checkpoint, const std::string& head_name,
                       const std::string& embedding_name) {
  const at::Tensor head = tensor_io::to_tensor(checkpoint.read(head_name));
  const at::Tensor embedding = tensor_io::to_tensor(checkpoint.read(embedding_name));
  NIBBLE_CHECK(head.scalar_type() == embedding.scalar_type() && at::equal(head, embedding),
               checkpoint.path().string(),
               ": the configuration ties lm_head to the embedding (tie_word_embeddings), but ",
               head_name, " is stored with other values than ", embedding_name);
}

void check_names(const io::Checkpoint& checkpoint, const StoredNames& stored_name,
                 const std::string& origin) {
  std::set<std::string> expected;
  std::vector<std::string> missing;
  for (const std::string& name : expected_names(checkpoint, origin)) {
    const std::string stored = stored_name(name);
    if (!checkpoint.contains(stored)) missing.push_back(stored);
    // An untied head is a parameter of its own: it cannot stand for the embedding as well.
    if (!expected.insert(stored).second) missing.push_back(name);
  }
  const std::string embedding = stored_name(std::string(kEmbeddingName));
  const std::string head = stored_name(std::string(kHeadName));
  bool stores_tied_head = false;
  std::vector<std::string> surplus;
  for (const std::string& name : checkpoint.tensor_names()) {
    if (expected.count(name) != 0 || is_derived(name)) continue;
    if (name == head && expected.count(embedding) != 0) {
      stores_tied_head = true;
    } else {
      surplus.push_back(name);
    }
  }
  std::string problem;
  if (!missing.empty()) problem += "\nmissing tensors:" + list(missing);
  if (!surplus.empty()) problem += "\ntensors that the model does not have:" + list(surplus);
  NIBBLE_CHECK(problem.empty(), checkpoint.path().string(),
               ": the tensors are not those of the configuration", problem);
  if (stores_tied_head) check_stored_head(checkpoint, head, embedding);
}

void check_shape(const io::Checkpoint& checkpoint, const std::string& name, at::IntArrayRef stored,
                 at::IntArrayRef needed) {
  NIBBLE_CHECK(stored == needed, checkpoint.path().string(), ": ", name, " has shape ", stored,
               "; the configuration needs ", needed);
}

at::Tensor read_parameter(const io::Checkpoint& checkpoint, const std::string& name,
                          at::IntArrayRef shape, const LoadOptions& options) {
  const at::Tensor stored = tensor_io::to_tensor(checkpoint.read(name));
  check_shape(checkpoint, name, stored.sizes(), shape);
  NIBBLE_CHECK(stored.is_floating_point(), checkpoint.path().string(), ": ", name, " is stored as ",
               stored.scalar_type(), "; a parameter must be floating point");
  return stored.to(at::TensorOptions(options.dtype).device(options.device),
                   /*non_blocking=*/false, /*copy=*/true);
}

/// The int8 weights of a model that is built with placeholders for them.
class Int8Weights {
 public:
  Int8Weights(const io::Checkpoint& checkpoint, const LoadOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  /// The placeholder of a matrix that the file keeps as int8; undefined for another tensor.
  at::Tensor read(const std::string& name, at::IntArrayRef shape) {
    const auto matrix = checkpoint_.read_int8(name);
    if (!matrix) return {};
    check_shape(checkpoint_, name, matrix->codes.shape, shape);
    const auto in_memory = [&](const io::TensorData& data) {
      return tensor_io::to_tensor(data).to(at::TensorOptions().device(options_.device),
                                           /*non_blocking=*/false, /*copy=*/true);
    };
    placed_.push_back({name,
                       placeholder(shape, options_),
                       {in_memory(matrix->codes), in_memory(matrix->scales)}});
    return placed_.back().placeholder;
  }

  static at::Tensor placeholder(at::IntArrayRef shape, const LoadOptions& options) {
    return at::empty(shape, at::TensorOptions(options.dtype).device(at::kMeta));
  }

  /// Puts them where the placeholders are.
  void place(CausalLMImpl& model) const {
    for (const Placed& placed : placed_) {
      for (const auto& module : model.modules()) {
        if (auto* embedding = module->as<nn::EmbeddingImpl>()) replace(placed, *embedding);
        if (auto* linear = module->as<nn::LinearImpl>()) replace(placed, *linear);
      }
      for (const at::Tensor& parameter : model.parameters()) {
        NIBBLE_CHECK(!parameter.is_same(placed.placeholder), checkpoint_.path().string(), ": ",
                     placed.name,
                     " is int8, and a module that is neither a nibble::nn::Embedding "
                     "nor a nibble::nn::Linear uses it; load it as floating point (keep_int8)");
      }
    }
  }

 private:
  struct Placed {
    std::string name;
    at::Tensor placeholder;
    nn::Int8Weight weight;
  };

  template <class Module>
  void replace(const Placed& placed, Module& module) const {
    if (module.weight.is_same(placed.placeholder)) module.load_int8(placed.weight, options_.dtype);
  }

  const io::Checkpoint& checkpoint_;
  const LoadOptions& options_;
  std::vector<Placed> placed_;
};

bool may_stay_int8(const std::string& name) { return name == kEmbeddingName || name == kHeadName; }

std::string origin_of(const io::Checkpoint& checkpoint) {
  return std::filesystem::is_directory(checkpoint.path())
             ? (checkpoint.path() / "config.json").string()
             : checkpoint.path().string();
}

}  // namespace

std::shared_ptr<CausalLMImpl> load_structure(const io::Checkpoint& checkpoint) {
  const std::string origin = origin_of(checkpoint);
  check_names(checkpoint, StoredNames(checkpoint), origin);
  return make_model(checkpoint.config(), origin, meta_parameters());
}

std::shared_ptr<CausalLMImpl> load_model(const io::Checkpoint& checkpoint,
                                         const LoadOptions& options) {
  NIBBLE_CHECK(
      options.dtype == at::kFloat || options.dtype == at::kBFloat16 || options.dtype == at::kHalf,
      "a model is loaded as float32, bfloat16 or float16, not as ", options.dtype);
  const std::string origin = origin_of(checkpoint);
  const StoredNames stored_name(checkpoint);
  check_names(checkpoint, stored_name, origin);
  Int8Weights int8(checkpoint, options);
  const auto read = [&](const std::string& name, at::IntArrayRef shape) {
    if (options.without.count(name) != 0) return Int8Weights::placeholder(shape, options);
    if (options.keep_int8 && may_stay_int8(name)) {
      if (at::Tensor placeholder = int8.read(stored_name(name), shape); placeholder.defined()) {
        return placeholder;
      }
    }
    return read_parameter(checkpoint, stored_name(name), shape, options);
  };
  auto model = make_model(checkpoint.config(), origin, ParameterSource(read));
  int8.place(*model);
  return model;
}

}  // namespace models

at::Device device_from(const std::string& name) {
  const auto found = torch::cuda::is_available() ? torch::cuda::device_count() : size_t{0};
  if (name == "cpu") return at::kCPU;
  if (name == "auto") return found > 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  size_t index = 0;
  if (name != "cuda") {
    const std::string prefix = "cuda:";
    const std::string number = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    NIBBLE_CHECK(!number.empty() && number.size() <= 3 &&
                     number.find_first_not_of("0123456789") == std::string::npos,
                 "no device is called \"", name, "\"; allowed: auto, cpu, cuda, cuda:N");
    index = std::stoul(number);
  }
  NIBBLE_CHECK(index < found, "device ", name, " is not there: LibTorch sees ", found,
               " CUDA devices");
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

std::shared_ptr<models::CausalLMImpl> load_model_from_checkpoint(const std::filesystem::path& path,
                                                                 const LoadOptions& options) {
  return models::load_model(*io::open_checkpoint(path), options);
}

}  // namespace nibble
