#include "start_checks.h"

#include <nibble/io/checkpoint.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <unistd.h>
#include <utility>

namespace nibble::train {
namespace {

namespace fs = std::filesystem;

void refuse_several_processes() {
  const char* world_size = std::getenv("WORLD_SIZE");
  NIBBLE_CHECK(world_size == nullptr || std::string(world_size) == "1" || *world_size == '\0',
               "WORLD_SIZE is ", world_size,
               ", but training runs in one process: several would train unconnected copies. Start "
               "sft_train once, without torchrun");
}

/// What finish() would refuse after hours of training.
void check_end(const Recipe& recipe) {
  for (const auto& [enabled, key] : {std::pair(recipe.convert.enabled, "convert.enabled"),
                                     std::pair(recipe.evaluate.enabled, "evaluate.enabled")}) {
    NIBBLE_CHECK(!enabled || recipe.qat.enabled, recipe.describe_key(key),
                 " needs a quantization scheme: set qat.enabled");
  }
  const std::optional<std::string>& output = recipe.convert.output_dir;
  NIBBLE_CHECK(!recipe.convert.enabled || !output.has_value() || !fs::exists(*output) ||
                   fs::is_empty(*output),
               recipe.describe_key("convert.output_dir"), ": ", *output, " is not empty");
  const std::optional<std::string>& baseline = recipe.evaluate.baseline_model;
  if (recipe.evaluate.enabled && baseline.has_value()) {
    about(recipe, "evaluate.baseline_model", [&] { return io::open_checkpoint(*baseline); });
  }
}

/// Creates nothing: a run that is refused for another reason leaves nothing behind.
void check_checkpoint_dir(const Recipe& recipe) {
  const std::string& directory = recipe.checkpoint.checkpoint_dir;
  fs::path existing = fs::absolute(directory);
  while (!fs::exists(existing) && existing.has_relative_path()) existing = existing.parent_path();
  const std::string key = recipe.describe_key("checkpoint.checkpoint_dir");
  NIBBLE_CHECK(fs::is_directory(existing), key, ": '", directory,
               "' cannot be a folder: ", existing.string(), " is a file");
  NIBBLE_CHECK(::access(existing.c_str(), W_OK | X_OK) == 0, key, ": '", directory,
               "' cannot be written: no permission to write to ", existing.string());
}

}  // namespace

void check_before_loading(const Recipe& recipe) {
  refuse_several_processes();
  check_end(recipe);
  check_checkpoint_dir(recipe);
}

void check_prompts(const Recipe& recipe, const data::TextFormat& format,
                   const models::ModelConfig& config) {
  about(recipe, "generate.prompts", [&] {
    for (const std::string& prompt : recipe.generate.prompts) {
      const auto tokens =
          static_cast<int64_t>(data::encode_prompt(format, data::to_conversation(prompt)).size());
      const int64_t most = config.max_position_embeddings - 1;
      const std::string shown = prompt.substr(0, 40) + (prompt.size() > 40 ? "..." : "");
      NIBBLE_CHECK(tokens <= most, "'", shown, "' has ", tokens,
                   " tokens with the chat template; this model takes at most ", most);
    }
  });
}

}  // namespace nibble::train
