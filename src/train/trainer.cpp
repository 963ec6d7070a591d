#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/data/fingerprint.h>
#include <nibble/data/loader.h>
#include <nibble/eval/teacher_forcing.h>
#include <nibble/models/loading.h>
#include <nibble/nn/parameters.h>
#include <nibble/ops/cache_scope.h>
#include <nibble/quantization/schedule.h>
#include <nibble/train/loss.h>
#include <nibble/train/lr_schedule.h>
#include <nibble/train/metrics.h>
#include <nibble/train/optimizer.h>
#include <nibble/train/progress.h>
#include <nibble/train/recipe_parser.h>
#include <nibble/train/run_checkpoint.h>
#include <nibble/train/trainer.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <iomanip>
#include <sstream>
#include <vector>

#include "run_data.h"
#include "run_identity.h"
#include "start_checks.h"
#include "step_record.h"

namespace nibble::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultValidation = "default";
constexpr const char* kModelKey = "model.pretrained_model_name_or_path";
constexpr const char* kDeviceKey = "model.device";

/// The key that an error of prepare() is about.
const char* key_of(PrepareError::About about) {
  switch (about) {
    case PrepareError::About::kGroupSize:
      return "qat.quantizer.groupsize";
    case PrepareError::About::kModulesToNotConvert:
      return "qat.modules_to_not_convert";
    case PrepareError::About::kTiedWeight:
      return "qat.tied_embedding";
    case PrepareError::About::kSpec:
      return "qat.quantizer._target_";
    case PrepareError::About::kModel:
      break;
  }
  return "qat.enabled";
}

}  // namespace

class Trainer::Impl {
 public:
  explicit Impl(Recipe recipe)
      : recipe_(std::move(recipe)), checkpoints_(recipe_.checkpoint.checkpoint_dir) {
    check_before_loading(recipe_);
    torch::manual_seed(static_cast<uint64_t>(recipe_.seed));
    source_ = about(recipe_, kModelKey, [&] {
      return io::open_checkpoint(recipe_.model.pretrained_model_name_or_path);
    });
    if (recipe_.checkpoint.enabled) find_checkpoint();
    load_model();
    load_data();
    plan_steps();
    prepare();  // first: untying makes new parameters, which the optimizer has to train too
    optimizer_ = std::make_unique<Optimizer>(trainable_parameters(), recipe_.optimizer);
    if (saved_.has_value()) restore();
  }

  RunEnd run(const std::function<bool()>& stop_requested) {
    about(recipe_, "checkpoint.checkpoint_dir", [&] { open_logs(); });
    if (state_.next_step == total_steps_) {
      log::info(detail::concat("nothing is left to train: all ", total_steps_, " steps are done"));
    }
    Progress progress("training", total_steps_, state_.next_step);
    if (state_.validation_pending) catch_up_validation(progress);
    while (state_.next_step < total_steps_) {
      const StepRecord record = train_step();
      training_log_->append(to_json(record));
      progress.update(state_.next_step, describe(record, recipe_.qat.enabled));
      const bool stop = stop_requested && stop_requested();
      after_step(record, stop, progress);
      if (stop && state_.next_step < total_steps_) return RunEnd::kPreempted;
    }
    return RunEnd::kFinished;
  }

  const Recipe& recipe() const { return recipe_; }

  Recipe recipe_;
  RunCheckpoints checkpoints_;
  std::unique_ptr<io::Checkpoint> source_;
  std::shared_ptr<models::CausalLMImpl> model_;
  std::optional<RunData> data_;
  std::optional<QuantizationReport> report_;
  int64_t total_steps_ = 0;
  RunState state_;

 private:
  /// What `read` gives of the checkpoint; an Error of it is damage, with the way to go on.
  template <class Read>
  auto of_checkpoint(Read&& read) const {
    try {
      return read(*resumed_);
    } catch (const Error& error) {
      fail("checkpoint ", resumed_->string(), " is damaged: ", error.what(),
           ". To go on: ", checkpoints_.way_on(*resumed_));
    }
  }

  void find_checkpoint() {
    resumed_ = about(recipe_, "checkpoint.restore_from",
                     [&] { return checkpoints_.find(recipe_.checkpoint.restore_from); });
    if (resumed_.has_value()) {
      saved_ = of_checkpoint(read_run_state);
      saved_recipe_ = of_checkpoint(read_run_recipe);
    }
    checkpoints_.check_no_later_ones(saved_.has_value() ? saved_->next_step : 0);
  }

  void load_model() {
    const LoadOptions options{
        .dtype = scalar_type(recipe_.model.torch_dtype),
        .device = about(recipe_, kDeviceKey, [&] { return device_from(recipe_.model.device); })};
    if (resumed_.has_value()) {
      model_ = of_checkpoint([&](const fs::path& folder) {
        return load_model_from_checkpoint(model_directory(folder), options);
      });
    } else {
      model_ = about(recipe_, kModelKey, [&] { return models::load_model(*source_, options); });
    }
    model_->train();
    if (recipe_.checkpoint.enabled) base_model_ = model_fingerprint(*source_);
  }

  void load_data() {
    data_ = load_run_data(recipe_, *source_, model_->config());
    check_prompts(recipe_, data_->format, model_->config());
    data_hash_ = data::fingerprint(data_->training.rows);
    log::info(detail::concat(data_->training.rows.size(), " training rows, ",
                             data_->training.target_tokens, " target tokens"));
  }

  void plan_steps() {
    const data::LoaderOptions options{.batch_size = recipe_.step_scheduler.global_batch_size,
                                      .shuffle = recipe_.dataloader.shuffle,
                                      .seed = static_cast<uint64_t>(recipe_.seed),
                                      .drop_last = recipe_.dataloader.drop_last};
    loader_ = std::make_unique<data::Loader>(data_->training.rows.size(), options);
    const auto& scheduler = recipe_.step_scheduler;
    total_steps_ = scheduler.max_steps.value_or(std::numeric_limits<int64_t>::max());
    if (scheduler.num_epochs.has_value()) {
      total_steps_ = std::min(total_steps_, *scheduler.num_epochs * loader_->batches_per_epoch());
    }
    check_delay(recipe_, total_steps_);
    lr_ = std::make_unique<LrSchedule>(recipe_, total_steps_);
    schedule_ = {recipe_.qat.activation_delay(), recipe_.qat.weight_delay()};
  }

  NamedTensors trainable_parameters() const {
    NamedTensors result;
    for (const auto& [name, tensor] : nn::unique_named_parameters(*model_)) {
      if (tensor.requires_grad()) result.emplace_back(name, tensor);
    }
    return result;
  }

  void prepare() {
    if (!recipe_.qat.enabled) return;
    try {
      report_ = make_quantizer(recipe_.qat).prepare(*model_);
    } catch (const PrepareError& error) {
      const std::string key = key_of(error.about());
      const bool is_default_size =
          error.about() == PrepareError::About::kGroupSize && recipe_.sources.count(key) == 0;
      fail(recipe_.describe_key(key), is_default_size ? " is not set, 256 is the default" : "",
           ": ", error.what());
    }
    log::info(report_->to_string());
  }

  nlohmann::json identity() const {
    return identity_of(recipe_, *model_, base_model_, data_->training.source_fingerprint);
  }

  void restore() {
    try {
      loader_->restore(saved_->loader);
    } catch (const Error& error) {
      fail("checkpoint ", resumed_->string(), " was written by another run: ", error.what());
    }
    check_identity(saved_->identity, identity(), *resumed_, *saved_recipe_, recipe_);
    NIBBLE_CHECK(saved_->next_step <= total_steps_, "checkpoint ", resumed_->string(),
                 " stands at step ", saved_->next_step, ", beyond the run's ", total_steps_,
                 " steps");
    of_checkpoint([&](const fs::path& folder) { load_optimizer(folder, *optimizer_); });
    state_ = std::move(*saved_);
    const std::string changes = changed_hyper_parameters(*saved_recipe_, recipe_);
    if (!changes.empty()) {
      log::warning("the run goes on with other settings than before: " + changes);
    }
    log::info(detail::concat("resumed from ", resumed_->string(), " at step ", state_.next_step));
  }

  void open_logs() {
    const fs::path directory = recipe_.checkpoint.checkpoint_dir;
    training_log_ = std::make_unique<MetricsLog>(directory / "training.jsonl", state_.next_step);
    const int64_t first_validation = state_.next_step - (state_.validation_pending ? 1 : 0);
    for (const auto& [name, dataset] : data_->validation) {
      const std::string file =
          name == kDefaultValidation ? "validation.jsonl" : "validation_" + name + ".jsonl";
      validation_logs_[name] = std::make_unique<MetricsLog>(directory / file, first_validation);
    }
  }

  /// The micro-batches of the next optimizer step.
  std::vector<data::Batch> next_batches() {
    std::vector<const data::Row*> rows;
    for (const size_t index : loader_->next()) rows.push_back(&data_->training.rows[index]);
    const auto micro = static_cast<size_t>(recipe_.step_scheduler.local_batch_size);
    std::vector<data::Batch> batches;
    for (size_t begin = 0; begin < rows.size(); begin += micro) {
      const size_t count = std::min(micro, rows.size() - begin);
      batches.push_back(data::collate(std::span(rows).subspan(begin, count), data_->format.pad_id));
    }
    return batches;
  }

  /// Switches fake quantization for `step` and returns what its record holds beforehand.
  StepRecord enter_step(int64_t step, int64_t epoch) {
    StepRecord record;
    record.step = step;
    record.epoch = epoch;
    record.lr = lr_->at(step);
    if (recipe_.qat.enabled) {
      schedule_.apply(*model_, record.step);
      record.activation_fake_quant = schedule_.activations_on(record.step) &&
                                     recipe_.qat.quantizer.scheme == QatScheme::k8da4w;
      record.weight_fake_quant = schedule_.weights_on(record.step);
    }
    return record;
  }

  StepRecord train_step() {
    const double start = unix_time();
    StepRecord record = enter_step(state_.next_step, loader_->epoch());
    const std::vector<data::Batch> batches = next_batches();
    for (const data::Batch& batch : batches) {
      record.num_label_tokens += batch.target_count;
      record.num_tokens += std::accumulate(batch.lengths.begin(), batch.lengths.end(), int64_t{0});
    }
    optimizer_->zero_grad();
    // One micro-batch reads each weight once anyway, and its gradient is masked while still in the
    // processor's cache.
    std::optional<CacheScope> scope;
    if (batches.size() > 1) scope.emplace();
    for (const data::Batch& batch : batches) {
      const at::Tensor loss =
          sum_cross_entropy(*model_, batch) / static_cast<double>(record.num_label_tokens);
      loss.backward();
      record.loss += loss.item<double>();
    }
    if (scope.has_value()) scope->finalize_gradients();
    record.grad_norm = optimizer_->clip_grad_norm(recipe_.max_grad_norm);
    optimizer_->step(record.lr);
    optimizer_->zero_grad();
    state_.next_step = record.step + 1;
    state_.epoch = record.epoch;
    record.seconds = unix_time() - start;
    return record;
  }

  void after_step(const StepRecord& record, bool stop, Progress& progress) {
    const auto& scheduler = recipe_.step_scheduler;
    const auto due = [&](const std::optional<int64_t>& every) {
      return every.has_value() && state_.next_step % *every == 0;
    };
    const bool last = state_.next_step == total_steps_;
    const bool epoch_end = loader_->epoch() != record.epoch;
    const bool save_due =
        recipe_.checkpoint.enabled && (due(scheduler.ckpt_every_steps) || last ||
                                       (epoch_end && scheduler.save_checkpoint_every_epoch));
    const bool validation_due = due(scheduler.val_every_steps) || save_due;
    // Who stops a run waits for it: validation is left to the resumed run, where there is one.
    state_.validation_pending = validation_due && stop && !last;
    bool lowest = false;
    if (validation_due && !state_.validation_pending) lowest = validate(record, progress);
    if (save_due || (stop && recipe_.checkpoint.enabled)) save_checkpoint(lowest, progress);
  }

  /// The validation that a stop put off, as if it had been done then.
  void catch_up_validation(Progress& progress) {
    const bool lowest = validate(enter_step(state_.next_step - 1, state_.epoch), progress);
    if (lowest) checkpoints_.mark_lowest_val(state_);
    state_.validation_pending = false;
  }

  /// Returns whether the default validation loss is the lowest so far.
  bool validate(const StepRecord& record, Progress& progress) {
    bool lowest = false;
    for (const auto& [name, dataset] : data_->validation) {
      const eval::TeacherForcing result =
          eval::evaluate_rows(*model_, dataset.rows, recipe_.step_scheduler.local_batch_size);
      validation_logs_.at(name)->append(nlohmann::ordered_json{
          {"step", record.step},
          {"epoch", record.epoch},
          {"timestamp", unix_time()},
          {"val_loss", result.loss},
          {"exact_match", result.exact_match},
          {"lr", record.lr},
          {"fake_quant", record.activation_fake_quant || record.weight_fake_quant},
          {"num_label_tokens", result.targets},
          {"mem", peak_memory_gib()}});
      std::ostringstream line;
      line << "[val] name \"" << name << "\" | step " << record.step << " | epoch " << record.epoch
           << " | loss " << std::fixed << std::setprecision(4) << result.loss << " | lr "
           << std::scientific << std::setprecision(2) << record.lr << " | num_label_tokens "
           << result.targets;
      progress.print(line.str());
      if (name == kDefaultValidation) {
        lowest = !state_.lowest_val_loss.has_value() || result.loss < *state_.lowest_val_loss;
        if (lowest) state_.lowest_val_loss = result.loss;
      }
    }
    return lowest;
  }

  void save_checkpoint(bool lowest, Progress& progress) {
    state_.loader = loader_->state();
    state_.identity = identity();
    state_.data_hash = data_hash_;
    const fs::path folder =
        checkpoints_.save(*model_, *source_, *optimizer_, state_, to_yaml(recipe_), lowest);
    progress.print("saved " + folder.string());
    if (recipe_.checkpoint.max_recent_checkpoints.has_value()) {
      checkpoints_.prune(*recipe_.checkpoint.max_recent_checkpoints);
    }
  }

  std::optional<fs::path> resumed_;  ///< the checkpoint that the run goes on from
  std::optional<RunState> saved_;    ///< its state
  std::optional<Recipe> saved_recipe_;
  std::string base_model_;  ///< model_fingerprint() of source_
  std::string data_hash_;
  std::unique_ptr<data::Loader> loader_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<LrSchedule> lr_;
  FakeQuantSchedule schedule_;
  std::unique_ptr<MetricsLog> training_log_;
  std::map<std::string, std::unique_ptr<MetricsLog>> validation_logs_;
};

Trainer::Trainer(Recipe recipe) : impl_(std::make_unique<Impl>(std::move(recipe))) {}
Trainer::~Trainer() = default;

RunEnd Trainer::run(const std::function<bool()>& stop_requested) {
  return impl_->run(stop_requested);
}
int64_t Trainer::total_steps() const { return impl_->total_steps_; }
int64_t Trainer::next_step() const { return impl_->state_.next_step; }
models::CausalLMImpl& Trainer::model() { return *impl_->model_; }
const io::Checkpoint& Trainer::source() const { return *impl_->source_; }
const data::TextFormat& Trainer::text_format() const { return impl_->data_->format; }
const std::map<std::string, data::SftDataset>& Trainer::validation_data() const {
  return impl_->data_->validation;
}
const Recipe& Trainer::recipe() const { return impl_->recipe_; }
const std::optional<QuantizationReport>& Trainer::quantization_report() const {
  return impl_->report_;
}

}  // namespace nibble::train
