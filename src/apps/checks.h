#pragma once

#include <nibble/core/error.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

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
  NIBBLE_CHECK(!std::filesystem::is_directory(path), option, " ", path.string(),
               " is a folder; a file is written there");
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  NIBBLE_CHECK(::access(folder.c_str(), W_OK | X_OK) == 0, option, " ", path.string(),
               " cannot be written: ", folder.string(),
               " has to be a folder that exists and is writable");
}

/// "1,2,3". Throws Error for anything else than integers, `option` named.
inline std::vector<int64_t> token_ids_from(std::string_view option, std::string_view text) {
  std::vector<int64_t> ids;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view item = text.substr(begin, end - begin);
    int64_t id = 0;
    const auto [rest, error] = std::from_chars(item.data(), item.data() + item.size(), id);
    NIBBLE_CHECK(error == std::errc() && rest == item.data() + item.size(), option, " takes token ",
                 "ids separated by commas; \"", item, "\" is none");
    ids.push_back(id);
    begin = end + 1;
  }
  return ids;
}

}  // namespace nibble::apps
