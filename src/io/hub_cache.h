#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace nibble::io {

/// A model as the Hugging Face hub names it.
struct HubName {
  std::string id;                 ///< "owner/name"
  std::string revision = "main";  ///< a branch, a tag or a commit
};

/// "owner/name" or "owner/name@revision"; nothing where `text` can be neither.
std::optional<HubName> parse_hub_name(std::string_view text);

/// $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
/// ~/.cache/huggingface/hub. Source: huggingface_hub, constants.py.
std::filesystem::path hub_cache_folder();

/// The folder of the model's files in the cache; nothing where this revision is not there. Throws
/// Error for a reference that leads out of the cache.
std::optional<std::filesystem::path> find_in_hub_cache(const HubName& name);

/// The command that puts the model there.
std::string download_command(const HubName& name);

}  // namespace nibble::io
