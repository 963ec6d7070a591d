#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/io/staged_directory.h>
#include <nibble/models/saving.h>
#include <nibble/tensor_io/tensor_data.h>
#include <nibble/train/recipe_parser.h>
#include <nibble/train/run_checkpoint.h>

#include <algorithm>
#include <charconv>
#include <limits>
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
constexpr const char* kRecipeFile = "config.yaml";
constexpr const char* kStateFile = "state.json";

std::string folder_name(const RunState& state) {
  return detail::concat("epoch_", state.epoch, "_step_", state.next_step - 1);
}

bool is_checkpoint(const fs::path& folder) { return fs::exists(folder / kStateFile); }

/// Folders of checkpoints that save() has not published; such names hold this part.
constexpr const char* kUnpublished = ".tmp.";

/// What is named epoch_E_step_S in `directory`, published or not; whole or damaged, even a file.
std::vector<fs::path> checkpoint_paths(const fs::path& directory, bool published) {
  std::vector<fs::path> paths;
  if (!fs::is_directory(directory)) return paths;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool whole = name.find(kUnpublished) == std::string::npos;
    if (name.starts_with("epoch_") && whole == published) paths.push_back(entry.path());
  }
  return paths;
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
  for (const fs::path& folder : checkpoint_paths(directory, /*published=*/true)) {
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

/// An integer of `json`, at least `low`.
int64_t count_at(const nlohmann::json& json, const char* name, int64_t low) {
  const nlohmann::json& value = json.at(name);
  constexpr auto kHighest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value.get<uint64_t>() <= kHighest) &&
                    value.get<int64_t>() >= low;
  NIBBLE_CHECK(fits, name, " is ", value.dump(), "; expected an integer >= ", low);
  return value.get<int64_t>();
}

const nlohmann::json& object_at(const nlohmann::json& json, const char* name) {
  const nlohmann::json& value = json.at(name);
  NIBBLE_CHECK(value.is_object(), name, " is ", value.type_name(), "; expected an object");
  return value;
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
  for (const fs::path& leftover : checkpoint_paths(directory_, /*published=*/false)) {
    fs::remove_all(leftover);  // of a run that was killed while it saved
  }
  const io::StagedDirectory staged(target);
  models::save_checkpoint(model, staged.path() / kModelFolder, {.source = &source});
  io::write_safetensors(staged.path() / kOptimizerFile, named_tensors(optimizer.state()));
  io::write_file_atomically(staged.path() / kRecipeFile, config_yaml);
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
  fail("'", *restore_from, "' is no checkpoint: there is no ", kStateFile, " in ",
       (directory_ / *restore_from).string(), " or ", *restore_from);
}

void RunCheckpoints::check_no_later_ones(int64_t next_step) const {
  std::vector<std::string> names;
  for (const fs::path& path : checkpoint_paths(directory_, /*published=*/true)) {
    if (step_of(path).value_or(-1) < next_step) continue;
    names.push_back(path.filename().string() + (is_checkpoint(path) ? "" : " (damaged)"));
  }
  std::sort(names.begin(), names.end());
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  NIBBLE_CHECK(names.empty(), directory_.string(), " holds ", list,
               ", but training is to go on at ", "step ", next_step,
               ", and a checkpoint is never overwritten: delete what is named ",
               "here, restore from the newest checkpoint, or set checkpoint.checkpoint_dir to ",
               "another folder");
}

std::string RunCheckpoints::way_on(const fs::path& damaged) const {
  if (!fs::is_directory(directory_) || !fs::equivalent(damaged.parent_path(), directory_)) {
    return "set checkpoint.restore_from to another checkpoint";
  }
  for (const fs::path& folder : newest_first(directory_)) {
    if (fs::equivalent(folder, damaged) || step_of(folder) > step_of(damaged)) continue;
    return "delete that folder and go on from " + folder.string();
  }
  return "there is no older checkpoint in " + directory_.string() +
         ": delete that folder to train from the start";
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
    state.next_step = count_at(json, "next_step", 1);
    state.epoch = count_at(json, "epoch", 0);
    state.loader = object_at(json, "loader");
    state.identity = object_at(json, "identity");
    state.data_hash = json.value("data_hash", std::string());
    state.validation_pending = json.value("validation_pending", false);
    if (json.contains("lowest_val_loss")) {
      state.lowest_val_loss = json["lowest_val_loss"].get<double>();
    }
    // A folder may have been given another name; one that names a step is of that step.
    NIBBLE_CHECK(step_of(folder).value_or(state.next_step - 1) == state.next_step - 1,
                 "next_step is ", state.next_step, " in the folder ", folder.filename().string());
    return state;
  } catch (const nlohmann::json::exception& error) {
    fail(file.string(), " is no run state: ", error.what());
  } catch (const Error& error) {
    fail(file.string(), " is no run state: ", error.what());
  }
}

Recipe read_run_recipe(const fs::path& folder) { return load_recipe(folder / kRecipeFile).recipe; }

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
