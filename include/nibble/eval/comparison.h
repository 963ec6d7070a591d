#pragma once

#include <nibble/data/sft_dataset.h>
#include <nibble/eval/model_loading.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/teacher_forcing.h>
#include <nibble/eval/text_reference.h>
#include <nibble/quantization/quantizer.h>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nibble::eval {

/// What must agree for models to be comparable, as they record it. Empty: not recorded.
struct ModelOrigin {
  std::string base = {};       ///< the model that training began with
  std::string data_hash = {};  ///< of the training rows
  std::string steps = {};      ///< optimizer steps
  std::string dtype = {};      ///< of the training
};

/// One model of a comparison.
struct ComparedModel {
  std::string name;  ///< a free label
  std::string path = {};
  ModelOrigin origin = {};
  std::optional<nn::QuantizationSpec> spec = {};  ///< empty: full precision
  bool post_training = false;                     ///< quantized after its training, not in it
  std::optional<int64_t> disk_bytes = {};         ///< of the weight files; empty: not written yet
  std::function<LoadedModel()> load = {};
};

/// What the models are measured on. At least one part.
struct ComparisonTask {
  std::string text = {};  ///< for perplexity, agreement and KL; empty: none
  int64_t max_tokens = 0;
  std::optional<int64_t> context = {};  ///< empty: default_context() of the reference
  std::vector<ChoiceQuestion> questions = {};
  std::optional<data::RowSelection> rows = {};  ///< SFT rows for the loss
  data::SftOptions row_options = {};
  bool allow_different = false;  ///< differences are reported, not an Error
};

/// A rate that a model was promised to keep to, in accuracy of 1.
struct AccuracyPromise {
  double least = 0;  ///< as little as this was expected to be lost; for the reader
  double most = 0;
};

/// 8da4w at most 0.01, 4w at most 0.015; after training, either, 0.01 to 0.03.
AccuracyPromise accuracy_promise(nn::Scheme scheme, bool post_training);

struct ModelMeasurement {
  std::string name = {}, path = {}, quantization = {};
  std::optional<int64_t> disk_bytes = {};
  int64_t memory_bytes = 0;
  std::optional<TextScores> text = {};
  /// Its tokens are the reference's, so agreement and KL mean something.
  bool same_tokens = true;
  std::optional<MultipleChoice> choice = {};
  std::optional<AccuracyLoss> lost = {};  ///< empty for the reference
  std::optional<AccuracyPromise> promise = {};
  std::optional<TeacherForcing> rows = {};
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;

  /// Empty where nothing was promised or measured.
  std::optional<bool> keeps_promise() const;
};

/// One thing that must agree: its value for each model, "" where not recorded.
struct OriginCheck {
  std::string what;
  std::vector<std::string> values;

  bool differs() const;
  bool is_recorded_everywhere() const;
};

struct Comparison {
  std::vector<OriginCheck> checks;
  std::vector<ModelMeasurement> models;  ///< the reference first
  int64_t speed_prompt_tokens = 0;       ///< of the generation that speed was measured with
  int64_t speed_new_tokens = 0;
};

/// Measures the models one after another: the first is the reference and stays in memory, of the
/// others one at a time. Throws Error for fewer than two models, nothing to measure, and, unless
/// it is allowed, models that record different origins or tokenize differently.
Comparison compare_models(const std::vector<ComparedModel>& models, const ComparisonTask& task);

/// What the models record, checked before anything is measured.
std::vector<OriginCheck> check_origins(const std::vector<ComparedModel>& models);

/// {"comparable", "models", "speed"}; null where not measured.
nlohmann::json to_json(const Comparison& comparison);
/// Tables for a terminal.
std::string to_text(const Comparison& comparison);
/// The same tables as a page.
std::string to_html(const Comparison& comparison);

}  // namespace nibble::eval
