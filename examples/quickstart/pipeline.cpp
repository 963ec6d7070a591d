#include "pipeline.h"

#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/eval/model_loading.h>
#include <nibble/eval/teacher_forcing.h>
#include <nibble/io/file.h>
#include <nibble/models/generation.h>
#include <nibble/nn/parameters.h>
#include <nibble/quantization/quantize.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/train/layer_sizes.h>
#include <nibble/train/metrics.h>
#include <nibble/train/trainer.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>

#include "redaction_rows.h"

namespace quickstart {
namespace {

namespace fs = std::filesystem;
using nibble::data::Row;
using nibble::eval::LoadedModel;
using nibble::train::Recipe;
using nibble::train::Trainer;

constexpr int64_t kAnswerTokens = 120;

/// What a stage costs, in full-precision steps of two rows: for the time left. Measured.
constexpr double kQatStepCost = 1.3;
constexpr double kScoredRowCost = 0.14;
constexpr double kModelLoadCost = 1.0;
constexpr double kAnswerCost = 1.1;

/// A training phase: which rows of the training file, from which model, into which folder.
struct Phase {
  std::string name;
  fs::path model;
  int64_t first_row = 0;
  int64_t steps = 0;
  bool qat = false;
};

class Job {
 public:
  explicit Job(const Settings& settings)
      : settings_(settings),
        held_out_(make_redaction_rows(Part::kHeldOut, settings.held_out_rows, settings.seed)) {}

  Outcome run() {
    const double start = nibble::train::unix_time();
    outcome_.settings = settings_;
    start_ = start;
    write_rows();
    const fs::path warm = train({"warm-up", settings_.model, 0, settings_.warmup_steps, false});
    const int64_t used = settings_.warmup_steps * settings_.rows_per_step;
    const fs::path full = train({"full-precision", warm, used, settings_.branch_steps, false});
    const fs::path int4 = train({"qat", warm, used, settings_.branch_steps, true});
    compare(full, int4);
    ask(int4);
    outcome_.seconds = nibble::train::unix_time() - start;
    return std::move(outcome_);
  }

 private:
  double answers_cost() const {
    return 3 * kAnswerCost * static_cast<double>(settings_.shown_rows);
  }

  /// Of all stages, in the unit of the costs above.
  double total_cost() const {
    return static_cast<double>(settings_.warmup_steps) +
           static_cast<double>(settings_.branch_steps) * (1 + kQatStepCost) +
           3 * (kModelLoadCost + kScoredRowCost * static_cast<double>(settings_.held_out_rows)) +
           answers_cost();
  }

  /// Begins a stage that costs `cost`, and says how long all that is left will take at the pace so
  /// far.
  void announce(const std::string& stage, double cost) {
    std::string line = "--- " + stage;
    if (done_cost_ > 0) {
      const double elapsed = nibble::train::unix_time() - start_;
      const double left = elapsed / done_cost_ * (total_cost() - done_cost_);
      line += nibble::detail::concat(" (about ", std::lround(left / 60 + 0.5), " min left in all)");
    }
    nibble::log::info(line);
    done_cost_ += cost;
  }

  void write_rows() const {
    const int64_t steps = settings_.warmup_steps + settings_.branch_steps;
    fs::create_directories(settings_.output);
    nibble::io::write_file_atomically(
        settings_.output / "train.jsonl",
        to_jsonl(
            make_redaction_rows(Part::kTraining, steps * settings_.rows_per_step, settings_.seed)));
    nibble::io::write_file_atomically(settings_.output / "held_out.jsonl", to_jsonl(held_out_));
  }

  nibble::train::DatasetRecipe dataset(const char* file, const std::string& split) const {
    nibble::train::DatasetRecipe recipe;
    recipe.path_or_dataset_id = {(settings_.output / file).string()};
    recipe.split = split;
    recipe.column_mapping.question = {"instruction", "input"};
    recipe.column_mapping.answer = "output";
    return recipe;
  }

  Recipe recipe_of(const Phase& phase) const {
    Recipe recipe;
    recipe.seed = static_cast<int64_t>(settings_.seed);
    recipe.model.pretrained_model_name_or_path = phase.model.string();
    recipe.step_scheduler.global_batch_size = settings_.rows_per_step;
    recipe.step_scheduler.local_batch_size = settings_.rows_per_step;
    recipe.step_scheduler.max_steps = phase.steps;
    const int64_t last_row = phase.first_row + phase.steps * settings_.rows_per_step;
    recipe.dataset = dataset("train.jsonl",
                             nibble::detail::concat("train[", phase.first_row, ":", last_row, "]"));
    recipe.optimizer.lr = settings_.lr;
    recipe.optimizer.betas = {0.9, 0.95};
    recipe.optimizer.weight_decay = 0;
    nibble::train::LrSchedulerRecipe schedule;
    schedule.min_lr = 0.05 * settings_.lr;
    recipe.lr_scheduler = schedule;
    recipe.checkpoint.checkpoint_dir = (settings_.output / phase.name).string();
    recipe.qat.enabled = phase.qat;
    recipe.qat.quantizer.groupsize = settings_.group_size;
    recipe.qat.delay_fake_quant_steps = phase.qat ? settings_.delay_steps : 0;
    return recipe;
  }

  /// Trains one phase and returns the directory of its model: the converted one after QAT.
  fs::path train(const Phase& phase) {
    announce(nibble::detail::concat(phase.name, ": ", phase.steps, " steps"),
             static_cast<double>(phase.steps) * (phase.qat ? kQatStepCost : 1.0));
    Trainer trainer(recipe_of(phase));
    trainer.run();
    outcome_.curves.push_back(read_curve(phase));
    if (!phase.qat) {
      return settings_.output / phase.name / "LATEST" / "model";
    }
    nibble::train::make_quantizer(trainer.recipe().qat).convert(trainer.model());
    const fs::path directory = settings_.output / "int4";
    nibble::save_quantized(trainer.model(), trainer.model().config_json(), directory,
                           &trainer.source(), {.embedding = nibble::EmbeddingStorage::kInt8});
    return directory;
  }

  Curve read_curve(const Phase& phase) const {
    Curve curve{phase.name, phase.first_row / settings_.rows_per_step, {}};
    std::ifstream lines(settings_.output / phase.name / "training.jsonl");
    for (std::string line; std::getline(lines, line);) {
      curve.loss.push_back(nlohmann::json::parse(line).at("loss").get<double>());
    }
    return curve;
  }

  /// Scores of one model, and what it writes for the shown rows.
  struct Scores {
    nibble::eval::TeacherForcing held_out;
    std::vector<bool> exact;
  };

  Scores score(LoadedModel& loaded, const std::vector<Row>& rows, const char* name) {
    announce(nibble::detail::concat("scoring ", rows.size(), " held-out rows: ", name),
             kModelLoadCost + kScoredRowCost * static_cast<double>(rows.size()));
    Scores scores{nibble::eval::evaluate_rows(*loaded.model, rows), {}};
    for (const auto& row : scores.held_out.rows) scores.exact.push_back(row.exact_match());
    return scores;
  }

  void compare(const fs::path& full, const fs::path& int4) {
    LoadedModel model = nibble::eval::load_any_model(full);
    const auto format = nibble::data::read_text_format(*model.checkpoint);
    const std::vector<Row> rows = nibble::train::load_dataset(dataset("held_out.jsonl", "train"),
                                                              format, model.model->config())
                                      .rows;
    const Scores fp = score(model, rows, "full precision");
    LoadedModel ptq = nibble::eval::load_any_model(full);
    nibble::quantize_(ptq.model, nibble::int8_dynamic_activation_int4_weight(settings_.group_size,
                                                                             at::kBFloat16));
    const Scores after_ptq = score(ptq, rows, "post-training quantization");
    LoadedModel qat = nibble::eval::load_any_model(int4);
    const Scores after_qat = score(qat, rows, "quantization-aware training, read back from disk");

    auto& report = outcome_.report;
    report.full_precision = {fp.held_out.loss, fp.held_out.exact_match};
    report.ptq = {after_ptq.held_out.loss, after_ptq.held_out.exact_match};
    report.qat = {after_qat.held_out.loss, after_qat.held_out.exact_match};
    report.layers = nibble::train::quantized_layer_sizes(*qat.model, at::kBFloat16);
    report.file = {2 * nibble::nn::parameter_count(*model.model),
                   static_cast<int64_t>(fs::file_size(int4 / "model.safetensors"))};
    announce("answers side by side", answers_cost());
    for (const size_t index : shown_rows(fp.exact, after_ptq.exact, after_qat.exact)) {
      const RedactionRow& row = held_out_[index];
      outcome_.answers.push_back({row.input, row.output, reply(model, format, row.input),
                                  reply(ptq, format, row.input), reply(qat, format, row.input)});
    }
  }

  /// Rows that tell most: lost by QAT, lost by PTQ alone, then the first ones.
  std::vector<size_t> shown_rows(const std::vector<bool>& fp, const std::vector<bool>& ptq,
                                 const std::vector<bool>& qat) const {
    const auto wanted = static_cast<size_t>(settings_.shown_rows);
    std::vector<size_t> shown;
    const auto take = [&](size_t count, auto&& applies) {
      for (size_t i = 0; i < fp.size() && count > 0 && shown.size() < wanted; ++i) {
        const bool already = std::find(shown.begin(), shown.end(), i) != shown.end();
        if (already || !applies(i)) continue;
        shown.push_back(i);
        --count;
      }
    };
    take(wanted / 3, [&](size_t i) { return fp[i] && !qat[i]; });
    take(wanted / 3, [&](size_t i) { return qat[i] && !ptq[i]; });
    take(wanted, [](size_t) { return true; });
    return shown;
  }

  static std::string reply(LoadedModel& loaded, const nibble::data::TextFormat& format,
                           const std::string& message) {
    const auto conversation =
        nibble::data::to_conversation(std::string(kInstruction) + "\n\n" + message);
    nibble::models::GenerationOptions options;
    options.max_new_tokens = kAnswerTokens;
    const auto answer = nibble::models::generate(
        *loaded.model, nibble::data::encode_prompt(format, conversation), options);
    return format.tokenizer.decode(answer.tokens, /*skip_special_tokens=*/true);
  }

  void ask(const fs::path& int4) {
    LoadedModel model = nibble::eval::load_any_model(int4);
    outcome_.question =
        "Hello, Ada Lovelace here. My package A-48213 is late, please ring me on 0170 555019.";
    outcome_.reply =
        reply(model, nibble::data::read_text_format(*model.checkpoint), outcome_.question);
  }

  Settings settings_;
  std::vector<RedactionRow> held_out_;
  double start_ = 0;
  double done_cost_ = 0;  ///< of the stages before the current one, once that is announced
  Outcome outcome_;
};

}  // namespace

Outcome run(const Settings& settings) { return Job(settings).run(); }

}  // namespace quickstart
