#pragma once

#include <nibble/io/gguf.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace nibble::io {

/// Typed look-ups in a GGUF file's metadata. Errors name the file, the key and what stands there.
class GgufMetadata {
 public:
  explicit GgufMetadata(const GgufFile& file) : file_(file) {}

  /// nullptr where the key is missing.
  const nlohmann::json* find(const std::string& key) const;
  const nlohmann::json& at(const std::string& key) const;
  std::string string(const std::string& key) const;
  /// An integer in [0, 2^31).
  int64_t size(const std::string& key) const;
  int64_t size_or(const std::string& key, int64_t fallback) const;
  /// A finite floating-point number.
  double real(const std::string& key) const;
  double real_or(const std::string& key, double fallback) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  const nlohmann::json& array(const std::string& key) const;

  /// "<file>: metadata \"<key>\"", the beginning of messages.
  std::string where(const std::string& key) const;

 private:
  const GgufFile& file_;
};

}  // namespace nibble::io
