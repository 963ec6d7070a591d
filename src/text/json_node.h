#pragma once

#include <nibble/core/error.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

/// A value of a JSON document and its path, for messages that say where something is wrong.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }

  /// The member `key`; throws when this is not an object or the member is absent.
  JsonNode at(std::string_view key) const;
  /// The member `key`, or nothing when it is absent or null.
  std::optional<JsonNode> find(std::string_view key) const;
  /// The elements of an array.
  std::vector<JsonNode> elements() const;

  std::string string() const;
  bool boolean() const;
  /// An integer in 0 .. 2^32 - 1.
  uint32_t uint32() const;
  bool boolean_or(std::string_view key, bool fallback) const;
  /// The member "type".
  std::string type() const { return at("type").string(); }

  /// Throws Error with the path in front.
  template <class... Args>
  [[noreturn]] void fail(const Args&... args) const {
    nibble::fail(path_, ": ", args...);
  }

 private:
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace nibble::text
