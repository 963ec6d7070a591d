#pragma once

#include <nibble/io/json.h>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace nibble::io::testing {

/// A file that reference/make_reference.py wrote.
inline nlohmann::json reference(const std::string& name) {
  return read_json_file(std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/unit/io/reference" /
                        name);
}

/// "00ff" -> two bytes.
inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

inline std::string to_string(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace nibble::io::testing
