#include <nibble/core/error.h>
#include <nibble/eval/inspection.h>
#include <nibble/models/registry.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/quantization/quantizer.h>
#include <nibble/text/chat_template.h>
#include <nibble/text/tokenizer.h>

#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include <map>
#include <memory>

namespace nibble::eval {
namespace {

using nlohmann::json;

constexpr int64_t kBFloat16Bytes = 2;

/// The model that a config.json describes, without memory, and the number of its parameters.
struct Blueprint {
  std::shared_ptr<models::CausalLMImpl> model;
  int64_t parameters = 0;
};

Blueprint make_blueprint(const io::Checkpoint& checkpoint) {
  Blueprint blueprint;
  const models::ParameterSource source([&](const std::string&, at::IntArrayRef shape) {
    const at::Tensor parameter = at::empty(shape, at::TensorOptions(at::kMeta));
    blueprint.parameters += parameter.numel();
    return parameter;
  });
  blueprint.model = models::make_model(checkpoint.config(),
                                       checkpoint.path().string() + ": configuration", source);
  return blueprint;
}

std::vector<StoredType> stored_types(const io::Checkpoint& checkpoint) {
  std::map<std::string, StoredType> types;
  for (const std::string& name : checkpoint.tensor_names()) {
    const io::StoredTensor tensor = checkpoint.stored(name);
    StoredType& type = types[tensor.type];
    type.name = tensor.type;
    ++type.tensors;
    type.bytes += tensor.bytes;
  }
  std::vector<StoredType> list;
  for (auto& entry : types) list.push_back(std::move(entry.second));
  return list;
}

/// Bytes of the tensors that save_quantized() writes for the weight of one Linear: words of eight
/// codes, bfloat16 scales, and the shape as two int64.
int64_t packed_bytes(const LayerReport& layer, int64_t group_size) {
  constexpr int64_t kCodesPerWord = 8;
  const int64_t words = (layer.in_features + kCodesPerWord - 1) / kCodesPerWord;
  const int64_t scales = layer.in_features / group_size;
  return layer.out_features * (words * int64_t{sizeof(int32_t)} + scales * kBFloat16Bytes) +
         2 * int64_t{sizeof(int64_t)};
}

GroupSizePlan make_plan(const Blueprint& blueprint, int64_t group_size) {
  SwapOptions options;
  options.allow_unquantized_layers = true;
  const Int8DynActInt4WeightQATQuantizer quantizer(group_size, at::kBFloat16, options);
  GroupSizePlan plan{.group_size = group_size, .report = quantizer.plan(*blueprint.model)};
  plan.tensors.full_precision_bytes = blueprint.parameters * kBFloat16Bytes;
  plan.tensors.quantized_bytes = plan.tensors.full_precision_bytes;
  for (const LayerReport& layer : plan.report.layers) {
    if (!layer.swapped) continue;
    plan.tensors.quantized_bytes +=
        packed_bytes(layer, group_size) - layer.in_features * layer.out_features * kBFloat16Bytes;
  }
  return plan;
}

std::optional<std::string> text_of(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

TokenizerSummary summarize_tokenizer(const io::Checkpoint& checkpoint) {
  try {
    const auto tokenizer =
        text::Tokenizer::from_json(checkpoint.tokenizer_json(), "tokenizer.json");
    const json& config = checkpoint.tokenizer_config();
    return {.vocab_size = tokenizer.vocab_size(),
            .bos_token = text_of(config, "bos_token"),
            .eos_token = text_of(config, "eos_token"),
            .pad_token = text_of(config, "pad_token")};
  } catch (const Error& error) {
    return {.problem = error.what()};
  }
}

ChatTemplateSummary summarize_chat_template(const io::Checkpoint& checkpoint) {
  try {
    const std::optional<std::string> source = checkpoint.chat_template();
    if (!source) return {.problem = "none"};
    const text::ChatTemplate parsed(*source);  // throws for what cannot be used
    return {.bytes = static_cast<int64_t>(source->size()),
            .marks_answers = source->find("endgeneration") != std::string::npos};
  } catch (const Error& error) {
    return {.problem = error.what()};
  }
}

std::optional<std::string> quantization_method(const io::Checkpoint& checkpoint) {
  if (!is_quantized_checkpoint(checkpoint)) return std::nullopt;
  const json& config = checkpoint.config().at("quantization_config");
  const auto method = config.is_object() ? text_of(config, "quant_method") : std::nullopt;
  return method.value_or("unknown method");
}

}  // namespace

ModelInspection inspect_model(const io::Checkpoint& checkpoint,
                              std::span<const int64_t> group_sizes) {
  const Blueprint blueprint = make_blueprint(checkpoint);
  ModelInspection inspection{
      .path = checkpoint.path().string(),
      .architecture = checkpoint.config().at("architectures").at(0).get<std::string>(),
      .config = blueprint.model->config(),
      .parameters = blueprint.parameters,
      .stored = stored_types(checkpoint),
      .quantized_as = quantization_method(checkpoint),
      .plans = {},
      .tokenizer = summarize_tokenizer(checkpoint),
      .chat_template = summarize_chat_template(checkpoint)};
  if (inspection.quantized_as) return inspection;
  for (const int64_t group_size : group_sizes) {
    inspection.plans.push_back(make_plan(blueprint, group_size));
  }
  return inspection;
}

}  // namespace nibble::eval
