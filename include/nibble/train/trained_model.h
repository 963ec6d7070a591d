#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/quantization/export_source.h>
#include <nibble/quantization/quantizer.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace nibble::train {

/// What a training checkpoint says about how its weights came about. Models are comparable where
/// these agree.
struct TrainingRecord {
  std::string base;       ///< the model that training began with
  std::string data_hash;  ///< of the training rows; empty: an older checkpoint
  int64_t steps = 0;      ///< optimizer steps done
};

/// A model on disk with what is known of its quantization.
struct TrainedModel {
  /// The full-precision view, also of a quantized checkpoint.
  std::unique_ptr<io::Checkpoint> checkpoint;
  /// Full-precision weights that a recipe trained for this quantizer, in this dtype.
  std::optional<SpecQATQuantizer> quantizer;
  at::ScalarType dtype = at::kFloat;
  /// The checkpoint holds integers already.
  bool is_quantized = false;
  std::optional<TrainingRecord> training;  ///< of a training checkpoint

  /// How its Linears are, or are to be, quantized; empty for a full-precision model.
  std::optional<nn::QuantizationSpec> spec() const;
};

/// Opens whatever the library can read, and finds the recipe that trained it: of a folder
/// epoch_E_step_S or its model/ the config.yaml; a run's own directory means its newest checkpoint.
TrainedModel open_trained_model(const std::filesystem::path& path);

/// `model` as it is exported. `ptq` quantizes a full-precision model. Throws Error when `ptq` is
/// missing for one, or given for a model that has a quantization of its own. The result refers to
/// `model`.
std::unique_ptr<ExportSource> export_source(const TrainedModel& model,
                                            const std::optional<SpecQATQuantizer>& ptq = {});

}  // namespace nibble::train
