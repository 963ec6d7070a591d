#pragma once

#include <nibble/eval/recovery.h>
#include <nibble/train/trainer.h>

#include <optional>

namespace nibble::train {

/// What comes after the last step, as the recipe asks: `convert` writes the quantized model,
/// `evaluate` compares full precision, post-training quantization and the trained model on the
/// default validation rows, `generate` asks the final model. The trainer's model is converted in
/// place. Returns the comparison where one was made. Throws Error when the recipe asks for what
/// the run does not have (QAT off, no validation rows).
std::optional<eval::RecoveryReport> finish(Trainer& trainer);

}  // namespace nibble::train
