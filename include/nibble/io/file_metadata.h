#pragma once

#include <optional>
#include <string>

namespace nibble::io {

/// What a Checkpoint of safetensors files can be cast to.
class FileMetadata {
 public:
  virtual ~FileMetadata() = default;

  /// What the files' `__metadata__` say under `key`; nothing where they say nothing.
  virtual std::optional<std::string> metadata(const std::string& key) const = 0;
};

}  // namespace nibble::io
