#pragma once

#include <filesystem>
#include <fstream>
#include <ostream>

namespace nibble::io {

/// A file that a reader, or a crash, sees with the old content or the new, never a part: it is
/// written as `<name>.tmp.<pid>` beside `path`; commit() fsyncs it, renames it over `path` and
/// fsyncs the directory. Without commit() it disappears again.
class AtomicFile {
 public:
  /// Throws Error when the temporary file cannot be created.
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// A seekable binary stream.
  std::ostream& stream() { return stream_; }
  /// Throws Error when something could not be written, such as on a full disk.
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  std::ofstream stream_;
};

}  // namespace nibble::io
