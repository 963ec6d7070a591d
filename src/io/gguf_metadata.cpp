#include "gguf_metadata.h"

#include <nibble/core/error.h>

#include <cmath>
#include <limits>

namespace nibble::io {

using nlohmann::json;

const json* GgufMetadata::find(const std::string& key) const {
  const auto found = file_.metadata().find(key);
  return found == file_.metadata().end() ? nullptr : &*found;
}

const json& GgufMetadata::at(const std::string& key) const {
  const json* value = find(key);
  NIBBLE_CHECK(value != nullptr, where(key), " is missing");
  return *value;
}

std::string GgufMetadata::string(const std::string& key) const {
  const json& value = at(key);
  NIBBLE_CHECK(value.is_string(), where(key), " is not a string");
  return value.get<std::string>();
}

int64_t GgufMetadata::size(const std::string& key) const {
  const json& value = at(key);
  NIBBLE_CHECK(value.is_number_integer(), where(key), " is not an integer");
  NIBBLE_CHECK(value >= 0 && value <= std::numeric_limits<int32_t>::max(), where(key), " is ",
               value.dump(), ", allowed is 0 to 2^31 - 1");
  return value.get<int64_t>();
}

int64_t GgufMetadata::size_or(const std::string& key, int64_t fallback) const {
  return find(key) == nullptr ? fallback : size(key);
}

double GgufMetadata::real(const std::string& key) const {
  const json& value = at(key);
  NIBBLE_CHECK(value.is_number_float() && std::isfinite(value.get<double>()), where(key),
               " is not a finite floating-point number");
  return value.get<double>();
}

double GgufMetadata::real_or(const std::string& key, double fallback) const {
  return find(key) == nullptr ? fallback : real(key);
}

bool GgufMetadata::boolean_or(const std::string& key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  NIBBLE_CHECK(value->is_boolean(), where(key), " is not a bool");
  return value->get<bool>();
}

const json& GgufMetadata::array(const std::string& key) const {
  const json& value = at(key);
  NIBBLE_CHECK(value.is_array(), where(key), " is not an array");
  return value;
}

std::string GgufMetadata::where(const std::string& key) const {
  return file_.path().string() + ": metadata \"" + key + "\"";
}

}  // namespace nibble::io
