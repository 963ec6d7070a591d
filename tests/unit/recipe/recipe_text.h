#pragma once

#include <string>

namespace nibble::train {

/// The least that a recipe needs; tests append their sections.
inline const std::string kMinimal =
    "model:\n"
    "  model_name: m\n"
    "dataset:\n"
    "  _target_: ChatDataset\n"
    "  path_or_dataset_id: rows.jsonl\n";
inline constexpr int kMinimalLines = 5;

}  // namespace nibble::train
