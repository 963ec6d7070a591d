#include <nibble/eval/inspection.h>

#include <nlohmann/json.hpp>

#include <iomanip>
#include <sstream>

#include "json_values.h"

namespace nibble::eval {
namespace {

using nlohmann::json;

json plan_json(const GroupSizePlan& plan) {
  json linears = json::array();
  for (const LayerReport& layer : plan.report.layers) {
    linears.push_back({{"path", layer.path},
                       {"in_features", layer.in_features},
                       {"out_features", layer.out_features},
                       {"quantized", layer.swapped},
                       {"reason", layer.reason}});
  }
  return {{"group_size", plan.group_size},
          {"quantized", plan.report.swapped()},
          {"skipped", plan.report.skipped()},
          {"quantized_weight_fraction", plan.report.swapped_weight_fraction()},
          {"bfloat16_bytes", plan.tensors.full_precision_bytes},
          {"quantized_bytes", plan.tensors.quantized_bytes},
          {"linears", std::move(linears)}};
}

json config_json(const models::ModelConfig& config) {
  return {{"num_layers", config.num_layers},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"num_heads", config.num_heads},
          {"num_kv_heads", config.num_kv_heads},
          {"head_dim", config.head_dim},
          {"vocab_size", config.vocab_size},
          {"max_position_embeddings", config.max_position_embeddings},
          {"tie_word_embeddings", config.tie_word_embeddings}};
}

std::string mebibytes(int64_t bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2) << static_cast<double>(bytes) / (1 << 20) << " MiB";
  return out.str();
}

std::string describe(const models::ModelConfig& config) {
  std::ostringstream out;
  out << config.num_layers << " layers, hidden " << config.hidden_size << ", feed-forward "
      << config.intermediate_size << ", " << config.num_heads << " heads of " << config.head_dim
      << " (" << config.num_kv_heads << " for keys and values), vocabulary " << config.vocab_size
      << ", context " << config.max_position_embeddings;
  return out.str();
}

std::string describe(const TokenizerSummary& tokenizer) {
  if (!tokenizer.problem.empty()) return tokenizer.problem;
  std::ostringstream out;
  out << tokenizer.vocab_size << " tokens";
  const auto add = [&](const char* name, const std::optional<std::string>& token) {
    out << ", " << name << " " << (token ? json(*token).dump(-1, ' ', true) : "none");
  };
  add("bos", tokenizer.bos_token);
  add("eos", tokenizer.eos_token);
  add("pad", tokenizer.pad_token);
  return out.str();
}

std::string describe(const ChatTemplateSummary& chat_template) {
  if (!chat_template.problem.empty()) return chat_template.problem;
  return std::to_string(chat_template.bytes) + " bytes, " +
         (chat_template.marks_answers ? "marks answers" : "does not mark answers") +
         " ({% generation %})";
}

}  // namespace

json to_json(const ModelInspection& inspection) {
  json stored = json::array();
  for (const StoredType& type : inspection.stored) {
    stored.push_back({{"type", type.name}, {"tensors", type.tensors}, {"bytes", type.bytes}});
  }
  json plans = json::array();
  for (const GroupSizePlan& plan : inspection.plans) plans.push_back(plan_json(plan));
  const TokenizerSummary& tokenizer = inspection.tokenizer;
  const ChatTemplateSummary& chat_template = inspection.chat_template;
  return {{"path", inspection.path},
          {"architecture", inspection.architecture},
          {"config", config_json(inspection.config)},
          {"parameters", inspection.parameters},
          {"stored", std::move(stored)},
          {"quantized_as", or_null(inspection.quantized_as)},
          {"plans", std::move(plans)},
          {"tokenizer",
           {{"problem", tokenizer.problem},
            {"vocab_size", tokenizer.vocab_size},
            {"bos_token", or_null(tokenizer.bos_token)},
            {"eos_token", or_null(tokenizer.eos_token)},
            {"pad_token", or_null(tokenizer.pad_token)}}},
          {"chat_template",
           {{"problem", chat_template.problem},
            {"bytes", chat_template.bytes},
            {"marks_answers", chat_template.marks_answers}}}};
}

std::string to_text(const ModelInspection& inspection) {
  std::ostringstream out;
  out << inspection.path << "\narchitecture   " << inspection.architecture << ": "
      << describe(inspection.config) << "\nparameters     " << inspection.parameters
      << (inspection.config.tie_word_embeddings ? ", lm_head tied to the embedding" : "");
  for (const StoredType& type : inspection.stored) {
    out << "\nstored         " << type.tensors << " tensors " << type.name << ", "
        << mebibytes(type.bytes);
  }
  out << "\ntokenizer      " << describe(inspection.tokenizer) << "\nchat template  "
      << describe(inspection.chat_template);
  if (inspection.quantized_as) out << "\nquantized already: " << *inspection.quantized_as;
  for (const GroupSizePlan& plan : inspection.plans) {
    out << "\n\ngroup size " << plan.group_size << ": bfloat16 "
        << mebibytes(plan.tensors.full_precision_bytes) << " -> "
        << mebibytes(plan.tensors.quantized_bytes) << " (" << std::fixed << std::setprecision(2)
        << plan.tensors.ratio() << " x)\n"
        << plan.report.to_string();
  }
  out << "\n";
  return out.str();
}

}  // namespace nibble::eval
