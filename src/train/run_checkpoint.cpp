#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/io/staged_directory.h>
#include <nibble/models/saving.h>
#include <nibble/tensor_io/tensor_data.h>
#include <nibble/train/run_checkpoint.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

namespace nibble::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLatest = "LATEST";
constexpr const char* kLowestVal = "LOWEST_VAL";
constexpr const char* kModelFolder = "model";
constexpr const char* kOptimizerFile = "optim.safetensors";
constexpr const char* kStateFile = "state.json";

std::string folder_name(const RunState& state) {
  return detail::concat("epoch_", state.epoch, "_step_", state.next_step - 1);
}

bool is_checkpoint(const fs::path& folder) { return fs::exists(folder / kStateFile); }

/// Folders of checkpoints that save() has not published; such names hold this part.
constexpr const char* kUnpublished = ".tmp.";

/// The folders epoch_E_step_S of `directory`, published or not.
std::vector<fs::path> checkpoint_folders(const fs::path& directory, bool published) {
  std::vector<fs::path> folders;
  if (!fs::is_directory(directory)) return folders;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool whole = name.find(kUnpublished) == std::string::npos;
    if (name.starts_with("epoch_") && entry.is_directory() && whole == published) {
      folders.push_back(entry.path());
    }
  }
  return folders;
}

/// The S of epoch_E_step_S; nothing for another name.
std::optional<int64_t> step_of(const fs::path& folder) {
  static constexpr std::string_view kStep = "_step_";
  const std::string name = folder.filename().string();
  const size_t at = name.find(kStep);
  if (at == std::string::npos) return std::nullopt;
  int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + at + kStep.size(), end, step);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(step) : std::nullopt;
}

/// By name: a checkpoint that nobody resumes from may be damaged without harm to the others.
std::vector<fs::path> newest_first(const fs::path& directory) {
  std::vector<std::pair<int64_t, fs::path>> by_step;
  for (const fs::path& folder : checkpoint_folders(directory, /*published=*/true)) {
    const std::optional<int64_t> step = step_of(folder);
    if (step.has_value() && is_checkpoint(folder)) by_step.emplace_back(*step, folder);
  }
  std::sort(by_step.rbegin(), by_step.rend());
  std::vector<fs::path> folders;
  for (auto& [step, folder] : by_step) folders.push_back(std::move(folder));
  return folders;
}

void write_state(const fs::path& file, const RunState& state) {
  nlohmann::ordered_json json = {
      {"next_step", state.next_step}, {"epoch", state.epoch},
      {"loader", state.loader},       {"identity", state.identity},
      {"data_hash", state.data_hash}, {"validation_pending", state.validation_pending}};
  if (state.lowest_val_loss.has_value()) json["lowest_val_loss"] = *state.lowest_val_loss;
  io::write_file_atomically(file, json.dump(2) + "\n");
}

std::vector<io::NamedTensor> named_tensors(const NamedTensors& tensors) {
  std::vector<io::NamedTensor> result;
  for (const auto& [name, tensor] : tensors) {
    result.push_back({name, tensor_io::to_tensor_data(tensor)});
  }
  return result;
}

}  // namespace

fs::path RunCheckpoints::save(const models::CausalLMImpl& model, const io::Checkpoint& source,
                              const Optimizer& optimizer, const RunState& state,
                              const std::string& config_yaml, bool is_lowest_val) const {
  const std::string name = folder_name(state);
  const fs::path target = directory_ / name;
  NIBBLE_CHECK(!fs::exists(target), "checkpoint ", target.string(),
               " exists already; a published checkpoint is never overwritten");
  for (const fs::path& leftover : checkpoint_folders(directory_, /*published=*/false)) {
    fs::remove_all(leftover);  // of a run that was killed while it saved
  }
  const io::StagedDirectory staged(target);
  models::save_checkpoint(model, staged.path() / kModelFolder, {.source = &source});
  io::write_safetensors(staged.path() / kOptimizerFile, named_tensors(optimizer.state()));
  io::write_file_atomically(staged.path() / "config.yaml", config_yaml);
  write_state(staged.path() / kStateFile, state);
  staged.publish();
  point(kLatest, name);
  if (is_lowest_val) point(kLowestVal, name);
  return target;
}

void RunCheckpoints::mark_lowest_val(const RunState& state) const {
  const std::string name = folder_name(state);
  if (is_checkpoint(directory_ / name)) point(kLowestVal, name);
}

void RunCheckpoints::point(const std::string& link, const std::string& folder) const {
  const fs::path temporary = directory_ / detail::concat(".", link, ".tmp.", ::getpid());
  fs::remove(temporary);
  fs::create_directory_symlink(folder, temporary);
  fs::rename(temporary, directory_ / link);
}

std::optional<fs::path> RunCheckpoints::find(const std::optional<std::string>& restore_from) const {
  if (!restore_from.has_value() || *restore_from == kLatest) {
    // A kill may come after a checkpoint's rename and before LATEST's: the folders decide.
    const std::vector<fs::path> folders = newest_first(directory_);
    if (!folders.empty()) return fs::canonical(folders.front());
    if (!restore_from.has_value()) return std::nullopt;
  }
  for (const fs::path& candidate : {directory_ / *restore_from, fs::path(*restore_from)}) {
    if (is_checkpoint(candidate)) return fs::canonical(candidate);
  }
  fail("checkpoint.restore_from '", *restore_from, "' is no checkpoint: there is no ", kStateFile,
       " in ", (directory_ / *restore_from).string(), " or ", *restore_from);
}

void RunCheckpoints::prune(int64_t keep) const {
  const std::vector<fs::path> folders = newest_first(directory_);
  for (size_t i = static_cast<size_t>(keep); i < folders.size(); ++i) {
    const auto is_target = [&](const char* link) {
      const fs::path path = directory_ / link;
      return fs::exists(path) && fs::equivalent(path, folders[i]);
    };
    if (!is_target(kLatest) && !is_target(kLowestVal)) fs::remove_all(folders[i]);
  }
}

RunState read_run_state(const fs::path& folder) {
  const fs::path file = folder / kStateFile;
  const nlohmann::json json = io::read_json_file(file);
  try {
    RunState state;
    state.next_step = json.at("next_step").get<int64_t>();
    state.epoch = json.at("epoch").get<int64_t>();
    state.loader = json.at("loader");
    state.identity = json.at("identity");
    state.data_hash = json.value("data_hash", std::string());
    state.validation_pending = json.value("validation_pending", false);
    if (json.contains("lowest_val_loss")) state.lowest_val_loss = json["lowest_val_loss"];
    return state;
  } catch (const nlohmann::json::exception& error) {
    fail(file.string(), " is no run state: ", error.what());
  }
}

fs::path model_directory(const fs::path& folder) { return folder / kModelFolder; }

void load_optimizer(const fs::path& folder, Optimizer& optimizer) {
  const io::SafetensorsFile file(folder / kOptimizerFile);
  NamedTensors state;
  for (const std::string& name : file.names()) {
    state.emplace_back(name, tensor_io::to_tensor(file.at(name)));
  }
  optimizer.load_state(state);
}

}  // namespace nibble::train
