#include <nibble/core/error.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/file.h>
#include <nibble/io/gguf.h>

#include "gguf_checkpoint.h"
#include "hf_checkpoint.h"
#include "hub_cache.h"

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kAllowed =
    "a model is a Hugging Face directory (config.json with model.safetensors or "
    "model.safetensors.index.json), a .gguf file, or the hub's name (owner/name, "
    "owner/name@revision) of one in the local Hugging Face cache (nothing is downloaded)";

/// A snapshot in the cache may hold a part of the model's files only.
std::unique_ptr<Checkpoint> open_snapshot(const fs::path& snapshot, const HubName& name) {
  try {
    return open_hf_checkpoint(snapshot);
  } catch (const Error& error) {
    fail(error.what(), "; to complete the download: ", download_command(name));
  }
}

/// "name/file" in a folder that is here is a path with a mistake.
bool may_be_hub_name(const std::optional<HubName>& name) {
  return name && !fs::is_directory(fs::path(name->id).parent_path());
}

std::unique_ptr<Checkpoint> open_by_hub_name(const fs::path& path) {
  const std::optional<HubName> name = parse_hub_name(path.string());
  NIBBLE_CHECK(may_be_hub_name(name), "no model at \"", path.string(),
               "\": no such file or directory; ", kAllowed);
  if (const auto snapshot = find_in_hub_cache(*name)) return open_snapshot(*snapshot, *name);
  fail("no model at \"", path.string(), "\": no such file or directory, and revision ",
       name->revision, " of ", name->id, " is not in the Hugging Face cache (",
       hub_cache_folder().string(), "); to download it: ", download_command(*name), "; ", kAllowed);
}

/// A training run holds models in folders of its own.
std::unique_ptr<Checkpoint> open_directory(const fs::path& path) {
  constexpr const char* kConfig = "config.json";
  constexpr const char* kPlaces[] = {"model", "LATEST/model", "quantized"};
  if (!path_exists(path / kConfig)) {
    std::string found;
    for (const char* place : kPlaces) {
      if (path_exists(path / place / kConfig)) found.append(" ").append((path / place).string());
    }
    NIBBLE_CHECK(found.empty(), "the directory ", path.string(),
                 " has no config.json: it is a training run. Its models:", found);
  }
  return open_hf_checkpoint(path);
}

}  // namespace

std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& path) {
  if (!path_exists(path)) return open_by_hub_name(path);
  if (fs::is_directory(path)) return open_directory(path);
  if (path.extension() == ".gguf" || is_gguf(path)) return open_gguf_checkpoint(path);
  fail("no model at \"", path.string(), "\": not a directory and not a GGUF file; ", kAllowed);
}

}  // namespace nibble::io
