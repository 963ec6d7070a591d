#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>
#include <nibble/train/recipe.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace nibble::train {

/// A data::Fingerprint of a model on disk: config.json, and of every tensor its name, type, shape
/// and samples of its values. Two of the same architecture and of other weights have two.
std::string model_fingerprint(const io::Checkpoint& model);

/// What a resumed run must have in common with the run that wrote the checkpoint: name -> value.
/// `rows` is the SftDataset::source_fingerprint of the training rows.
nlohmann::json identity_of(const Recipe& recipe, const models::CausalLMImpl& model,
                           const std::string& base_model, const std::string& rows);

/// Throws Error that names the first difference between the identity that a checkpoint has and
/// `own`, and the settings that were `before` and are others in `recipe`.
void check_identity(const nlohmann::json& saved, const nlohmann::json& own,
                    const std::filesystem::path& checkpoint, const Recipe& before,
                    const Recipe& recipe);

/// "optimizer.lr: 0.003 -> 0.0001, ..." of the settings that decide how training goes on; empty
/// where none changed.
std::string changed_hyper_parameters(const Recipe& before, const Recipe& after);

}  // namespace nibble::train
