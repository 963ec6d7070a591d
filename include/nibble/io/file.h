#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>

namespace nibble::io {

/// A read-only memory map of a whole file. Copies share the map; it lives until the last copy goes.
class MappedFile {
 public:
  /// Throws Error when the file cannot be opened or mapped. An empty file gives an empty span.
  explicit MappedFile(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const;
  const std::filesystem::path& path() const;
  /// Keeps the map alive for views that outlive this object.
  std::shared_ptr<const void> owner() const;

 private:
  struct Mapping;
  std::shared_ptr<const Mapping> mapping_;
};

/// Whether something stands at `path`; false also where the system refuses to look.
bool path_exists(const std::filesystem::path& path);

/// The whole file as text. Throws Error naming the path when it cannot be read.
std::string read_text_file(const std::filesystem::path& path);

/// Writes a file so that a reader, or a crash, sees the old content or the new, never a part:
/// writes `<name>.tmp.<pid>` beside it, fsyncs, renames over `path`, fsyncs the directory.
/// `write` gets a binary stream. When it throws, its exception is passed on; when the disk is full,
/// Error is thrown; in both cases the temporary file is removed and `path` is untouched.
void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(std::ostream&)>& write);
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace nibble::io
