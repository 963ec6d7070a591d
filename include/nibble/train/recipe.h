#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// What a training run is asked to do, as plain values. The names are those of the YAML keys
/// (docs/recipe.md): `step_scheduler.max_steps` is `recipe.step_scheduler.max_steps`. A member's
/// initializer is the key's default. recipe_parser.h fills a Recipe from a file.
namespace nibble::train {

enum class Dtype { kFloat32, kBFloat16 };

struct ModelRecipe {
  /// A Hugging Face directory or a GGUF file.
  std::string pretrained_model_name_or_path;
  /// Of the weights and of the compute. float32 because most updates of a usual learning rate are
  /// rounded away in bfloat16 weights.
  Dtype torch_dtype = Dtype::kFloat32;
  std::string device = "auto";  ///< as device_from() takes it
};

struct StepSchedulerRecipe {
  /// Rows per optimizer step, over all micro-batches; a multiple of local_batch_size. The parser
  /// fills it: 8, or local_batch_size where only that is given.
  int64_t global_batch_size = 8;
  int64_t local_batch_size = 1;  ///< rows per micro-batch
  /// Passes over the dataset. The parser fills it: empty (as many as max_steps needs) where only
  /// max_steps is given, otherwise 1. The run ends at whichever of the two comes first.
  std::optional<int64_t> num_epochs;
  std::optional<int64_t> max_steps;         ///< optimizer steps of the whole run, resumed part too
  std::optional<int64_t> ckpt_every_steps;  ///< empty: only at epoch ends and at the end
  bool save_checkpoint_every_epoch = true;
  std::optional<int64_t> val_every_steps;  ///< empty: only with each checkpoint

  /// Micro-batches per optimizer step.
  int64_t accumulation_steps() const { return global_batch_size / local_batch_size; }
};

enum class QatScheme { k8da4w, k4w };
enum class QatGrid { kSymmetric, kAsymmetric };
/// What happens where a Linear to be quantized shares its weight with the embedding.
enum class TiedEmbedding {
  kKeep,   ///< the shared weight stays in full precision
  kUntie,  ///< the Linear gets a copy of its own, which is quantized
  kBoth,   ///< both uses see the quantized weight
};

struct QuantizerRecipe {
  QatScheme scheme = QatScheme::k8da4w;
  int64_t groupsize = 256;
  /// Dtype of the scales. Defaults by `_target_`: torchao's Int8DynActInt4WeightQATQuantizer
  /// float32; every other one bfloat16.
  Dtype scales_precision = Dtype::kBFloat16;
  /// 8da4w has the symmetric grid only; the default of 4w is TorchAO's asymmetric one.
  QatGrid grid = QatGrid::kSymmetric;
};

struct QatRecipe {
  bool enabled = false;
  QuantizerRecipe quantizer;
  /// Fake quantization is off in steps 0..N-1 and on from step N (0-based).
  int64_t delay_fake_quant_steps = 0;
  std::optional<int64_t> delay_activation_fake_quant_steps;  ///< empty: delay_fake_quant_steps
  std::optional<int64_t> delay_weight_fake_quant_steps;      ///< empty: delay_fake_quant_steps
  /// Accepts a delay that is not shorter than the run: fake quantization is then never on.
  bool allow_delay_beyond_training = false;
  /// Linears, or modules that hold them, that stay in full precision: paths or last components.
  std::vector<std::string> modules_to_not_convert = {"lm_head"};
  /// Leaves layers that the group size does not divide in full precision instead of failing.
  bool allow_unquantized_layers = false;
  TiedEmbedding tied_embedding = TiedEmbedding::kKeep;

  int64_t activation_delay() const {
    return delay_activation_fake_quant_steps.value_or(delay_fake_quant_steps);
  }
  int64_t weight_delay() const {
    return delay_weight_fake_quant_steps.value_or(delay_fake_quant_steps);
  }
};

enum class DatasetKind {
  kColumnMapped,  ///< instruction rows: columns -> prompt and answer
  kChat,          ///< rows with `messages`
  kSquad,         ///< SQuAD columns: context, question, answers.text
  kHellaSwag,     ///< ctx or query, endings, label: the right ending is the answer
};

/// Which columns of a row make the prompt and the answer (kColumnMapped only).
struct ColumnMapping {
  /// With the chat template: the system message. Empty: the template's own default.
  std::optional<std::string> context;
  /// The user's message: the values of these columns that are not empty, joined with
  /// `column_separator`.
  std::vector<std::string> question;
  std::string answer;
};

struct DatasetRecipe {
  DatasetKind kind = DatasetKind::kColumnMapped;
  std::vector<std::string> path_or_dataset_id;  ///< JSON or JSONL files, read in this order
  /// "train" or "train[:64]": of a local file only the row range in brackets matters.
  std::string split = "train";
  /// Configuration of a dataset that has several; no effect on local files.
  std::optional<std::string> name;
  ColumnMapping column_mapping;
  std::string column_separator = "\n\n";
  /// Renders prompt and answer with the model's chat template where it has one; false, or without
  /// a template: the plain text `context question answer` and an end token. kChat needs the
  /// template.
  bool use_hf_chat_template = true;
  std::optional<std::string> chat_template;  ///< Jinja source or file instead of the model's own
  bool answer_only_loss_mask = true;         ///< targets are the answer's tokens only
  bool mask_history = false;                 ///< kChat: only the last assistant turn is a target
  std::optional<int64_t> seq_length;         ///< longest row in tokens; empty: the model's limit
  /// Longer rows are cut to seq_length; false: they are an error.
  bool truncation = false;
  std::optional<int64_t> limit_dataset_samples;  ///< the first N rows
  std::optional<int64_t> shuffle_seed;           ///< shuffles the rows once, before any limit
  /// Drops malformed rows and rows without a target, with a count in the log; false: an error.
  bool skip_invalid_samples = false;
};

struct DataloaderRecipe {
  bool shuffle = false;    ///< a new order each epoch, derived from `seed`
  bool drop_last = false;  ///< drops the last, incomplete global batch of an epoch
};

enum class OptimizerKind { kAdam, kAdamW };

struct OptimizerRecipe {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double lr = 1e-5;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  /// Decoupled in AdamW, added to the gradient in Adam. Default 0.01 for AdamW, 0 for Adam.
  double weight_decay = 0.01;
};

enum class LrDecayStyle { kConstant, kLinear, kCosine, kInverseSquareRoot, kWsd };

/// Without a value the trainer fills in, with T = all optimizer steps of the run:
/// warm-up min(1000, T / 10), decay T, init_lr 0.1 * lr, max_lr lr, min_lr 0.01 * lr.
struct LrSchedulerRecipe {
  LrDecayStyle lr_decay_style = LrDecayStyle::kCosine;
  std::optional<int64_t> lr_warmup_steps;
  std::optional<int64_t> lr_decay_steps;
  std::optional<double> init_lr;
  std::optional<double> max_lr;
  std::optional<double> min_lr;
  std::optional<int64_t> wsd_decay_steps;  ///< required by, and only for, style WSD
  /// Of the last phase of WSD.
  LrDecayStyle lr_wsd_decay_style = LrDecayStyle::kLinear;
};

struct CheckpointRecipe {
  bool enabled = true;
  std::string checkpoint_dir = "checkpoints";
  /// "LATEST", a folder name inside checkpoint_dir, or a path. Empty: LATEST where there is one.
  std::optional<std::string> restore_from;
  std::optional<int64_t> max_recent_checkpoints;  ///< empty: all are kept
};

enum class EmbeddingPrecision { kNone, kInt8 };

/// Writing the quantized model after the last step.
struct ConvertRecipe {
  bool enabled = false;
  std::optional<std::string> output_dir;  ///< empty: checkpoint_dir/quantized
  EmbeddingPrecision embedding = EmbeddingPrecision::kNone;
};

/// The comparison after the last step, on the rows of the default validation dataset.
struct EvaluateRecipe {
  bool enabled = false;
  /// The model whose full-precision and PTQ results are compared, for example a branch trained
  /// without QAT. Empty: the model that this run started from.
  std::optional<std::string> baseline_model;
  std::optional<int64_t> max_rows;
  std::optional<std::string> output;  ///< JSON report; empty: checkpoint_dir/evaluation.json
};

/// Questions asked to the final model.
struct GenerateRecipe {
  std::vector<std::string> prompts;
  int64_t max_new_tokens = 64;
  double temperature = 0.0;  ///< 0: greedy
};

struct Recipe {
  int64_t seed = 42;
  StepSchedulerRecipe step_scheduler;
  ModelRecipe model;
  QatRecipe qat;
  DatasetRecipe dataset;
  /// "default" (`validation_dataset`) and every `validation_dataset_<name>`.
  std::map<std::string, DatasetRecipe> validation_datasets;
  DataloaderRecipe dataloader;
  OptimizerRecipe optimizer;
  std::optional<LrSchedulerRecipe> lr_scheduler;  ///< empty: the learning rate is constant
  std::optional<double> max_grad_norm = 1.0;      ///< `clip_grad_norm.max_norm`; empty: no clipping
  CheckpointRecipe checkpoint;
  ConvertRecipe convert;
  EvaluateRecipe evaluate;
  GenerateRecipe generate;

  std::string file;  ///< the recipe's file, for messages
  /// Where a key was set, by canonical path: "recipe.yaml:12" or "command line --a.b".
  std::map<std::string, std::string> sources;

  /// "recipe.yaml:12: qat.quantizer.groupsize", without a line for a default: the start of an error
  /// about that key that is found later.
  std::string describe_key(const std::string& path) const;
};

/// Throws Error when fake quantization would never be on in a run of `total_steps` optimizer steps
/// (and the recipe does not allow that). The parser calls it with max_steps; the trainer again
/// where the epochs decide the length.
void check_delay(const Recipe& recipe, int64_t total_steps);

}  // namespace nibble::train
