#include <nibble/core/error.h>
#include <nibble/data/batch.h>
#include <nibble/nn/parameters.h>
#include <nibble/quantization/quantizer.h>
#include <nibble/train/loss.h>
#include <nibble/train/optimizer.h>

#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/bench_model.h"
#include "benchmarks/bench_support.h"
#include "benchmarks/torch_device.h"
#include "run_main.h"

// Times one optimizer step of a language model: forward, backward, clipping, AdamW.
namespace nibble::benchmarks {
namespace {

constexpr double kLearningRate = 1e-5;
constexpr double kMaxGradNorm = 1.0;

struct Arguments {
  TorchOptions torch;
  std::string dtype = "float32";
  std::string model;
  bool random_weights = false;
  std::string scheme = kNoScheme;
  int64_t group_size = 32;
  int64_t rows = 1;
  int64_t tokens = 256;
  bool compare = false;
  int steps = 10;
  int warmup = 2;
  std::string json;
};

/// `rows` rows of random tokens, each position a target.
data::Batch random_batch(int64_t rows, int64_t length, int64_t vocab_size) {
  std::mt19937_64 random(7);
  std::uniform_int_distribution<int64_t> token(0, vocab_size - 1);
  data::Batch batch;
  batch.rows = rows;
  batch.length = length;
  batch.target_count = rows * length;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<int64_t> ids(static_cast<size_t>(length) + 1);
    for (int64_t& id : ids) id = token(random);
    batch.ids.insert(batch.ids.end(), ids.begin(), ids.end() - 1);
    batch.labels.insert(batch.labels.end(), ids.begin() + 1, ids.end());
  }
  batch.lengths.assign(static_cast<size_t>(rows), length);
  return batch;
}

train::OptimizerRecipe adamw() {
  train::OptimizerRecipe recipe;
  recipe.kind = train::OptimizerKind::kAdamW;
  recipe.lr = kLearningRate;
  return recipe;
}

/// A model in training with its optimizer.
class Training {
 public:
  Training(std::shared_ptr<models::CausalLMImpl> model, const std::string& scheme,
           int64_t group_size)
      : model_(std::move(model)) {
    model_->train();
    if (scheme != kNoScheme) {
      const auto report = SpecQATQuantizer(benchmark_spec(scheme, group_size)).prepare(*model_);
      std::fprintf(stderr, "%s: %lld Linears fake-quantized, %lld skipped\n", scheme.c_str(),
                   static_cast<long long>(report.swapped()),
                   static_cast<long long>(report.skipped()));
    }
    optimizer_ = std::make_unique<train::Optimizer>(nn::unique_named_parameters(*model_), adamw());
  }

  /// One optimizer step of one micro-batch, in the order of train::Trainer: whatever the trainer
  /// opens around a step and closes before clipping belongs here too.
  void step(const data::Batch& batch) {
    optimizer_->zero_grad();
    const at::Tensor loss =
        train::sum_cross_entropy(*model_, batch) / static_cast<double>(batch.target_count);
    loss.backward();
    NIBBLE_CHECK(std::isfinite(loss.item<double>()), "the loss is not finite");
    optimizer_->clip_grad_norm(kMaxGradNorm);
    optimizer_->step(kLearningRate);
    optimizer_->zero_grad();
  }

  /// Bytes of the parameters and of the optimizer's state: what stays between steps.
  int64_t state_bytes() const {
    size_t bytes = 0;
    for (const auto& [name, tensor] : nn::unique_named_parameters(*model_)) {
      bytes += tensor.nbytes();
    }
    for (const auto& [name, tensor] : optimizer_->state()) bytes += tensor.nbytes();
    return static_cast<int64_t>(bytes);
  }

  const models::ModelConfig& config() const { return model_->config(); }

 private:
  std::shared_ptr<models::CausalLMImpl> model_;
  std::unique_ptr<train::Optimizer> optimizer_;
};

Row make_row(const Arguments& arguments, const std::string& scheme,
             const std::vector<double>& samples) {
  Row row;
  row.name = "training step " + scheme;
  row.shape = detail::concat(arguments.rows, "x", arguments.tokens);
  row.group_size = scheme == kNoScheme ? 0 : arguments.group_size;
  row.dtype = arguments.dtype;
  row.median_ms = median(samples);
  row.samples = static_cast<int>(samples.size());
  row.details["tokens_per_second"] =
      static_cast<double>(arguments.rows * arguments.tokens) / (row.median_ms * 1e-3);
  return row;
}

/// "peak_memory_bytes" is what a process with this training alone would need for weights, optimizer
/// state and step: the state and the growth during a step.
void add_memory(Row& row, Training& training, const data::Batch& batch, const TorchDevice& device) {
  const auto use = device.memory_use([&] { training.step(batch); });
  row.details["peak_memory_bytes"] = nullptr;
  row.details["process_peak_memory_bytes"] = nullptr;
  if (!use.has_value()) return;
  row.details["peak_memory_bytes"] = training.state_bytes() + use->peak - use->before;
  row.details["process_peak_memory_bytes"] = use->peak;
}

void print(const Row& row) {
  const nlohmann::json& memory = row.details["peak_memory_bytes"];
  std::printf("%-22s %-8s g%-4lld %-9s %10.2f ms %9.1f tok/s", row.name.c_str(), row.shape.c_str(),
              static_cast<long long>(row.group_size), row.dtype.c_str(), row.median_ms,
              row.details["tokens_per_second"].get<double>());
  if (!memory.is_null()) std::printf(" %7.2f GiB", memory.get<double>() / (1 << 30));
  if (row.details.contains("ratio")) {
    std::printf("  %.3f of %s", row.details["ratio"].get<double>(),
                row.details["baseline"].get<std::string>().c_str());
  }
  std::printf("\n");
}

std::vector<Row> measure(const Arguments& arguments, const TorchDevice& device) {
  std::vector<std::string> schemes;
  if (arguments.compare) schemes.push_back(kNoScheme);
  schemes.push_back(arguments.scheme);

  std::vector<std::unique_ptr<Training>> trainings;
  for (const std::string& scheme : schemes) {
    trainings.push_back(std::make_unique<Training>(
        load_benchmark_model(arguments.model, arguments.random_weights,
                             scalar_type_of(arguments.dtype), device.device()),
        scheme, arguments.group_size));
  }
  const data::Batch batch =
      random_batch(arguments.rows, arguments.tokens, trainings.front()->config().vocab_size);
  std::vector<std::function<double()>> contenders;
  for (const auto& training : trainings) {
    contenders.push_back([&device, &batch, &training] {
      return device.milliseconds([&] { training->step(batch); });
    });
  }
  const auto samples = interleave(contenders, arguments.warmup, arguments.steps);

  std::vector<Row> rows;
  for (size_t i = 0; i < schemes.size(); ++i) {
    Row row = make_row(arguments, schemes[i], samples[i]);
    add_memory(row, *trainings[i], batch, device);
    if (i > 0) add_ratio(row, rows[0], median_ratio(samples[i], samples[0]));
    print(row);
    rows.push_back(std::move(row));
  }
  return rows;
}

int bench_training_step(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{
      "Times a training step (forward, backward, clipping, AdamW) on random tokens, and its peak "
      "memory."};
  add_torch_options(app, arguments.torch);
  app.add_option("--dtype", arguments.dtype, "of weights and compute")
      ->check(CLI::IsMember(kDTypeNames));
  app.add_option("--model", arguments.model, "Hugging Face directory or GGUF file")->required();
  app.add_flag("--random-weights", arguments.random_weights,
               "--model is a config.json, or a directory with one");
  app.add_option("--scheme", arguments.scheme)->check(CLI::IsMember({kNoScheme, "8da4w", "4w"}));
  app.add_option("--group-size", arguments.group_size, "-1: per channel");
  app.add_option("--rows", arguments.rows, "of the batch")->check(CLI::PositiveNumber);
  app.add_option("--tokens", arguments.tokens, "in a row")->check(CLI::PositiveNumber);
  app.add_flag("--compare", arguments.compare,
               "measure full precision in turns with the scheme and give the ratio");
  app.add_option("--steps", arguments.steps, "measured steps")->check(CLI::PositiveNumber);
  app.add_option("--warmup", arguments.warmup, "steps before them")->check(CLI::NonNegativeNumber);
  app.add_option("--json", arguments.json, "report")->required();
  CLI11_PARSE(app, argc, argv);
  NIBBLE_CHECK(!arguments.compare || arguments.scheme != kNoScheme,
               "--compare needs a scheme to compare full precision with: 8da4w or 4w");

  const TorchDevice device(arguments.torch);
  write_report(arguments.json, "bench_training_step",
               {{"device", arguments.torch.device},
                {"machine", device.description()},
                {"torch", TORCH_VERSION},
                {"model", arguments.model},
                {"optimizer", "AdamW, ATen fused"},
                {"warmup", arguments.warmup}},
               measure(arguments, device));
  return 0;
}

}  // namespace
}  // namespace nibble::benchmarks

int main(int argc, char** argv) {
  return nibble::apps::run_main(nibble::benchmarks::bench_training_step, argc, argv);
}
