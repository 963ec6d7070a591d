#pragma once

#include <nibble/train/trainer.h>

#include <nlohmann/json.hpp>

#include <string>

namespace nibble::train {

/// The line that a step prints; `qat`: with the state of fake quantization.
std::string describe(const StepRecord& record, bool qat);
/// The record that a step has in training.jsonl.
nlohmann::ordered_json to_json(const StepRecord& record);

}  // namespace nibble::train
