#pragma once

#include <array>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <zlib.h>

namespace nibble::text {

/// The content of a file, decompressed if it is gzip (zlib reads plain files too).
inline std::string read_maybe_compressed(const std::filesystem::path& path) {
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) {
    throw std::runtime_error("cannot open " + path.string());
  }
  std::string content;
  std::array<char, 1 << 16> buffer;
  int count = 0;
  while ((count = gzread(file, buffer.data(), buffer.size())) > 0) {
    content.append(buffer.data(), static_cast<size_t>(count));
  }
  gzclose(file);
  if (count < 0) {
    throw std::runtime_error("cannot decompress " + path.string());
  }
  return content;
}

}  // namespace nibble::text
