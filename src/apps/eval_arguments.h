#pragma once

#include <nibble/data/sft_dataset.h>
#include <nibble/eval/comparison.h>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quantization_flags.h"

namespace nibble::apps {

/// The command line of qat_eval.
struct EvalArguments {
  std::string model;
  ComputeFlags compute;
  std::vector<std::string> compare;
  bool allow_different = false;
  QuantizationFlags quantization;  ///< without a scheme: none
  std::string perplexity, hellaswag, rows;
  std::optional<int64_t> context, max_tokens, limit;
  std::optional<std::string> logits;  ///< token ids as they were given
  std::string logits_path = "logits.safetensors";
  std::string json, html;

  void add(CLI::App& app);
  /// Throws Error when there is nothing to measure, or a result could not be written.
  void check() const;

  std::vector<eval::ChoiceQuestion> questions(std::optional<int64_t> limit) const;
  std::optional<data::RowSelection> row_selection() const;
  std::vector<int64_t> logit_ids() const;
  /// How the first of --rows is written: messages, or the columns of the usual instruction sets.
  data::SftOptions row_options() const;
  eval::ComparisonTask comparison_task() const;
};

}  // namespace nibble::apps
