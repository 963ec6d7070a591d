#include "hub_cache.h"

#include <nibble/core/error.h>
#include <nibble/io/file.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

/// Letters, digits, '.', '_' and '-', not starting or ending with '.' or '-': what the hub allows
/// in either part of a name. The cache joins the parts with "--", so neither holds that or "..".
bool is_name_part(std::string_view text) {
  const auto is_edge = [](char c) { return c != '.' && c != '-'; };
  const auto is_allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= 96 && is_edge(text.front()) && is_edge(text.back()) &&
         std::all_of(text.begin(), text.end(), is_allowed) &&
         text.find("--") == std::string_view::npos && text.find("..") == std::string_view::npos;
}

/// A git reference names a file below refs/: it must not lead out of there.
bool is_revision(std::string_view text) {
  const auto is_allowed = [](unsigned char c) { return c > ' ' && c < 127 && c != '\\'; };
  const fs::path path(text);
  return !text.empty() && std::all_of(text.begin(), text.end(), is_allowed) && path.is_relative() &&
         path.has_filename() && std::none_of(path.begin(), path.end(), [](const fs::path& part) {
           return part == ".." || part == ".";
         });
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isdigit(c) != 0 || (c >= 'a' && c <= 'f');
         });
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path expand_home(const std::string& path) {
  const bool below_home = path == "~" || path.starts_with("~/");
  return below_home ? fs::path(variable("HOME") + path.substr(1)) : fs::path(path);
}

std::string without_white_space(std::string text) {
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  return text;
}

}  // namespace

std::optional<HubName> parse_hub_name(std::string_view text) {
  HubName name;
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    name.revision = text.substr(at + 1);
    if (!is_revision(name.revision)) return std::nullopt;
    text = text.substr(0, at);
  }
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  if (!is_name_part(text.substr(0, slash)) || !is_name_part(text.substr(slash + 1))) {
    return std::nullopt;
  }
  name.id = text;
  return name;
}

fs::path hub_cache_folder() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return expand_home(cache);
  if (const std::string home = variable("HF_HOME"); !home.empty()) return expand_home(home) / "hub";
  const std::string cache = variable("XDG_CACHE_HOME");
  return expand_home(cache.empty() ? "~/.cache" : cache) / "huggingface" / "hub";
}

std::optional<fs::path> find_in_hub_cache(const HubName& name) {
  std::string folder = "models--" + name.id;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path model = hub_cache_folder() / folder;
  std::string commit = name.revision;
  if (const fs::path reference = model / "refs" / name.revision; fs::is_regular_file(reference)) {
    commit = without_white_space(read_text_file(reference));
    NIBBLE_CHECK(is_commit(commit), reference.string(), " does not hold a commit");
  }
  const fs::path snapshot = model / "snapshots" / commit;
  if (!is_commit(commit) || !fs::is_directory(snapshot)) return std::nullopt;
  return snapshot;
}

std::string download_command(const HubName& name) {
  return "hf download " + name.id + (name.revision == "main" ? "" : " --revision " + name.revision);
}

}  // namespace nibble::io
