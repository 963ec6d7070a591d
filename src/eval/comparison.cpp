#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/data/fingerprint.h>
#include <nibble/eval/comparison.h>
#include <nibble/eval/memory.h>
#include <nibble/eval/speed.h>

#include <algorithm>
#include <span>
#include <utility>

namespace nibble::eval {
namespace {

/// The task as one model's tokenizer sees it.
struct TokenizedTask {
  std::vector<int64_t> text;
  std::vector<data::Row> rows;
  std::string fingerprint;  ///< of all token ids that are scored
};

TokenizedTask tokenize(const ComparisonTask& task, const data::TextFormat& format) {
  TokenizedTask tokens;
  data::Fingerprint all;
  if (!task.text.empty()) {
    tokens.text = format.tokenizer.encode_ids(task.text, /*add_special_tokens=*/false);
    if (static_cast<int64_t>(tokens.text.size()) > task.max_tokens) {
      tokens.text.resize(static_cast<size_t>(task.max_tokens));
    }
    all.add(tokens.text);
  }
  for (const ChoiceQuestion& question : task.questions) {
    for (const std::string& ending : question.endings) {
      all.add(format.tokenizer.encode_ids(question.context + " " + ending, false));
    }
  }
  if (task.rows) {
    tokens.rows = data::load_sft_dataset(*task.rows, task.row_options, format).rows;
    for (const data::Row& row : tokens.rows) {
      all.add(row.ids);
      all.add(row.labels);
    }
  }
  tokens.fingerprint = all.to_string();
  return tokens;
}

void refuse_differences(const std::vector<ComparedModel>& models, const OriginCheck& check) {
  if (!check.differs()) return;
  std::string found;
  for (size_t i = 0; i < models.size(); ++i) {
    if (check.values[i].empty()) continue;
    found += (found.empty() ? "" : ", ") + models[i].name + " " + check.values[i];
  }
  fail("the models are not comparable, their ", check.what, " differs: ", found,
       " (--allow-different compares them nevertheless)");
}

class ModelComparison {
 public:
  ModelComparison(const std::vector<ComparedModel>& models, const ComparisonTask& task)
      : models_(models), task_(task) {
    NIBBLE_CHECK(models.size() >= 2, "a comparison needs two models, got ", models.size());
    NIBBLE_CHECK(!task.text.empty() || !task.questions.empty() || task.rows,
                 "nothing to measure: give a text, HellaSwag rows or training rows");
    result_.checks = check_origins(models);
    if (!task.allow_different) {
      for (const OriginCheck& check : result_.checks) refuse_differences(models, check);
    }
    tokens_check_.what = "token ids";
  }

  Comparison run() {
    const LoadedModel reference = models_.front().load();
    measure(models_.front(), reference);
    for (const ComparedModel& model : std::span(models_).subspan(1)) measure(model, model.load());
    result_.checks.push_back(std::move(tokens_check_));
    return std::move(result_);
  }

 private:
  bool is_reference() const { return result_.models.empty(); }

  void measure(const ComparedModel& model, const LoadedModel& loaded) {
    models::CausalLMImpl& network = *loaded.model;
    const data::TextFormat format = data::read_text_format(*loaded.checkpoint);
    const TokenizedTask tokens = tokenize(task_, format);
    tokens_check_.values.push_back(tokens.fingerprint);
    if (!task_.allow_different) refuse_differences(models_, padded(tokens_check_));

    ModelMeasurement found{.name = model.name, .path = model.path};
    found.quantization = model.spec ? nn::to_string(*model.spec) : "none";
    found.disk_bytes = model.disk_bytes;
    found.memory_bytes = memory_bytes(network);
    found.same_tokens = tokens.fingerprint == tokens_check_.values.front();
    if (!tokens.text.empty()) measure_text(model, network, tokens, found);
    if (!task_.questions.empty()) measure_choice(model, network, format.tokenizer, found);
    if (task_.rows) {
      announce(model, "loss of the rows");
      found.rows = evaluate_rows(network, tokens.rows);
    }
    announce(model, "speed");
    const Speed speed = measure_speed(network);
    found.prefill_tokens_per_second = speed.prefill_tokens_per_second;
    found.decode_tokens_per_second = speed.decode_tokens_per_second;
    result_.speed_prompt_tokens = speed.prompt_tokens;
    result_.speed_new_tokens = speed.new_tokens;
    result_.models.push_back(std::move(found));
  }

  void measure_text(const ComparedModel& description, models::CausalLMImpl& model,
                    const TokenizedTask& tokens, ModelMeasurement& found) {
    announce(description, "perplexity");
    if (is_reference()) {
      context_ = task_.context.value_or(default_context(model.config()));
      text_.emplace(model, tokens.text, context_);
      found.text = TextScores{.perplexity = text_->perplexity()};
    } else if (found.same_tokens) {
      found.text = text_->score(model);
    } else {
      found.text = TextScores{.perplexity = evaluate_perplexity(model, tokens.text, context_)};
    }
  }

  void measure_choice(const ComparedModel& description, models::CausalLMImpl& model,
                      const text::Tokenizer& tokenizer, ModelMeasurement& found) {
    announce(description, "HellaSwag");
    found.choice = evaluate_multiple_choice(model, tokenizer, task_.questions);
    if (is_reference()) return;
    found.lost = accuracy_loss(*result_.models.front().choice, *found.choice);
    if (description.spec) {
      found.promise = accuracy_promise(description.spec->scheme, description.post_training);
    }
  }

  /// The check with "" for the models that are still to come.
  OriginCheck padded(OriginCheck check) const {
    check.values.resize(models_.size());
    return check;
  }

  static void announce(const ComparedModel& model, const char* what) {
    log::info(model.name + ": " + what);
  }

  const std::vector<ComparedModel>& models_;
  const ComparisonTask& task_;
  OriginCheck tokens_check_;
  int64_t context_ = 0;
  std::optional<TextReference> text_;
  Comparison result_;
};

}  // namespace

AccuracyPromise accuracy_promise(nn::Scheme scheme, bool post_training) {
  if (post_training) return {.least = 0.01, .most = 0.03};
  return {.least = 0, .most = scheme == nn::Scheme::k8da4w ? 0.01 : 0.015};
}

std::optional<bool> ModelMeasurement::keeps_promise() const {
  if (!promise || !lost) return std::nullopt;
  return lost->lost <= promise->most;
}

Comparison compare_models(const std::vector<ComparedModel>& models, const ComparisonTask& task) {
  return ModelComparison(models, task).run();
}

}  // namespace nibble::eval
