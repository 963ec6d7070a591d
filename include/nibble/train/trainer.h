#pragma once

#include <nibble/data/sft_dataset.h>
#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>
#include <nibble/quantization/quantizer.h>
#include <nibble/train/recipe.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace nibble::train {

/// The dtype that a recipe names.
at::ScalarType scalar_type(Dtype dtype);
/// The quantizer that a recipe's qat section describes.
SpecQATQuantizer make_quantizer(const QatRecipe& recipe);
/// The dataset that a recipe's dataset section describes, as the model wants its text.
data::SftDataset load_dataset(const DatasetRecipe& recipe, const data::TextFormat& format,
                              const models::ModelConfig& config);

/// One optimizer step, as training.jsonl has it.
struct StepRecord {
  int64_t step = 0;   ///< 0-based
  int64_t epoch = 0;  ///< 0-based
  double loss = 0;    ///< sum over targets / number of targets, all micro-batches
  double grad_norm = 0;
  double lr = 0;
  bool activation_fake_quant = false;
  bool weight_fake_quant = false;
  int64_t num_label_tokens = 0;
  int64_t num_tokens = 0;
  double seconds = 0;
};

enum class RunEnd {
  kFinished,   ///< all steps are done
  kPreempted,  ///< a stop was asked for: where checkpoints are enabled, the state is saved and the
               ///< same recipe goes on from there
};

/// Supervised fine-tuning of one model by one recipe, in one process: instruction or chat rows,
/// prompt masking, AdamW, warm-up and decay, accumulation, clipping, validation, checkpoints, exact
/// resume, delayed fake quantization.
class Trainer {
 public:
  /// Loads model and data, prepares fake quantization, and restores a checkpoint where the recipe
  /// or the checkpoint folder has one. Throws Error on anything wrong with them, and when
  /// WORLD_SIZE asks for several processes.
  explicit Trainer(Recipe recipe);
  ~Trainer();

  /// Trains to the last step, or until `stop_requested` (asked after each step) is true. A
  /// validation that is due when it stops is done first by the run that goes on.
  RunEnd run(const std::function<bool()>& stop_requested = {});

  /// Steps of the whole run, and the one that comes next.
  int64_t total_steps() const;
  int64_t next_step() const;

  models::CausalLMImpl& model();
  const io::Checkpoint& source() const;
  const data::TextFormat& text_format() const;
  const std::map<std::string, data::SftDataset>& validation_data() const;
  const Recipe& recipe() const;
  /// What prepare() did; empty without QAT.
  const std::optional<QuantizationReport>& quantization_report() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nibble::train
