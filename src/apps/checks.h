#pragma once

#include <nibble/core/error.h>

#include <CLI/CLI.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>

namespace nibble::apps {

/// For options that count something.
inline CLI::Validator positive_integer() {
  return {[](std::string& text) {
            int64_t value = 0;
            const bool fits = CLI::detail::lexical_cast(text, value) && value > 0;
            return fits ? std::string() : "must be a positive integer, got " + text;
          },
          "POSITIVE"};
}

/// Throws Error unless a file can be made where `path` says: before hours of measuring, not after.
inline void check_can_write(std::string_view option, const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  NIBBLE_CHECK(::access(folder.c_str(), W_OK | X_OK) == 0 && !std::filesystem::is_directory(path),
               option, " ", path.string(), " cannot be written: ", folder.string(),
               " has to be a folder that exists and is writable");
}

}  // namespace nibble::apps
