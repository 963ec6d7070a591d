#pragma once

#include <nibble/eval/recovery.h>
#include <nibble/io/checkpoint.h>
#include <nibble/models/config.h>
#include <nibble/quantization/report.h>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nibble::eval {

/// The tensors of one stored type.
struct StoredType {
  std::string name;  ///< "BF16", "Q4_K", ...
  int64_t tensors = 0;
  int64_t bytes = 0;
};

/// What the symmetric int4 grid (8da4w, 4w) with bfloat16 scales would do at one group size.
struct GroupSizePlan {
  int64_t group_size = 0;
  QuantizationReport report;  ///< Linears that the group size does not divide are skipped
  SizeChange tensors = {};  ///< bytes of a bfloat16 checkpoint's tensors and of save_quantized()'s
};

/// A tokenizer, or why there is none.
struct TokenizerSummary {
  std::string problem = {};  ///< empty, or all else is
  int64_t vocab_size = 0;
  std::optional<std::string> bos_token = {}, eos_token = {}, pad_token = {};
};

/// A chat template, or why there is none.
struct ChatTemplateSummary {
  std::string problem = {};  ///< empty, or all else is
  int64_t bytes = 0;
  bool marks_answers = false;  ///< it has {% generation %} blocks
};

/// What a checkpoint is and what quantization would make of it.
struct ModelInspection {
  std::string path;
  std::string architecture;
  models::ModelConfig config;
  int64_t parameters = 0;  ///< a tied embedding once
  std::vector<StoredType> stored;
  std::optional<std::string> quantized_as;  ///< quant_method of a checkpoint quantized already
  std::vector<GroupSizePlan> plans;         ///< none for a quantized checkpoint
  TokenizerSummary tokenizer;
  ChatTemplateSummary chat_template;
};

/// Reads the configuration, the tensors' descriptions and the text side; no weight. Throws Error
/// where load_model() would because of the configuration.
ModelInspection inspect_model(const io::Checkpoint& checkpoint,
                              std::span<const int64_t> group_sizes);

/// Every field, and of each plan the Linears.
nlohmann::json to_json(const ModelInspection& inspection);

/// A page for a terminal.
std::string to_text(const ModelInspection& inspection);

}  // namespace nibble::eval
