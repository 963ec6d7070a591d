#pragma once

#include <nibble/io/atomic_file.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace nibble::io {

/// A file of a header and named places behind it, which are filled in any order, each once.
class SlotFile {
 public:
  SlotFile(const std::filesystem::path& path, std::string_view header);

  /// Reserves `bytes` at `offset` behind the header; up to `padding` zero bytes follow them.
  void reserve(const std::string& name, uint64_t offset, uint64_t bytes, uint64_t padding = 0);
  /// Throws Error for a name without a place, a second time, or another number of bytes.
  void write(const std::string& name, std::span<const std::byte> bytes);
  /// Commits the file. Throws Error when a place is empty.
  void finish();

 private:
  struct Slot {
    uint64_t offset = 0, bytes = 0, padding = 0;
    bool written = false;
  };

  AtomicFile file_;
  uint64_t data_begin_;
  std::map<std::string, Slot> slots_;
};

}  // namespace nibble::io
