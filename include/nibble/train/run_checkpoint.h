#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>
#include <nibble/train/optimizer.h>
#include <nibble/train/recipe.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace nibble::train {

/// What a run needs beside weights and moments to go on exactly: where it stands, what it runs.
struct RunState {
  int64_t next_step = 0;  ///< the step that the resumed run does first
  int64_t epoch = 0;      ///< of the last step done
  nlohmann::json loader;  ///< data::Loader::state()
  /// What must be the same for the run to be the same (model, data, schedule): name -> value.
  nlohmann::json identity;
  std::string data_hash;  ///< data::fingerprint() of the training rows; empty: not recorded
  std::optional<double> lowest_val_loss;
  /// Validation was due after the last step, but the run was stopped: the resumed run does it
  /// first.
  bool validation_pending = false;
};

/// The checkpoints of one run, a folder each, named as NeMo Automodel names them:
///   epoch_E_step_S/  model/ (Hugging Face directory), optim.safetensors, state.json, config.yaml
///   LATEST, LOWEST_VAL  symbolic links to such folders
/// A folder appears whole or not at all: it is written under a temporary name, flushed, renamed.
class RunCheckpoints {
 public:
  explicit RunCheckpoints(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// Writes epoch_E_step_S after step S = state.next_step - 1 and points LATEST to it, and
  /// LOWEST_VAL when `is_lowest_val`. `config_yaml` is the resolved recipe. Removes folders that a
  /// killed run left half written. Returns the folder.
  std::filesystem::path save(const models::CausalLMImpl& model, const io::Checkpoint& source,
                             const Optimizer& optimizer, const RunState& state,
                             const std::string& config_yaml, bool is_lowest_val) const;

  /// Points LOWEST_VAL to the folder of `state`, where this directory has it: for a validation that
  /// came after the save.
  void mark_lowest_val(const RunState& state) const;

  /// The folder that `restore_from` means: "LATEST" (the newest folder here), a folder name here,
  /// or a path; without it the newest where there is one. Throws Error when a named one does not
  /// exist.
  std::optional<std::filesystem::path> find(const std::optional<std::string>& restore_from) const;

  /// Throws Error where a checkpoint of step `next_step` or later stands here, whole or damaged: a
  /// run that goes on from there would come to publish over it.
  void check_no_later_ones(int64_t next_step) const;

  /// The end of an error about a damaged checkpoint: how to go on without it.
  std::string way_on(const std::filesystem::path& damaged) const;

  /// Deletes the oldest folders beyond the `keep` newest; those that LATEST and LOWEST_VAL point to
  /// stay.
  void prune(int64_t keep) const;

 private:
  void point(const std::string& link, const std::string& folder) const;

  std::filesystem::path directory_;
};

/// state.json of a checkpoint folder. Throws Error that names the file and the missing or malformed
/// entry, also one that does not belong to the step in the folder's name.
RunState read_run_state(const std::filesystem::path& folder);
/// config.yaml of a checkpoint folder: the recipe of the run that wrote it.
Recipe read_run_recipe(const std::filesystem::path& folder);
/// The Hugging Face directory in a checkpoint folder.
std::filesystem::path model_directory(const std::filesystem::path& folder);
/// Restores the moments from a checkpoint folder.
void load_optimizer(const std::filesystem::path& folder, Optimizer& optimizer);

}  // namespace nibble::train
