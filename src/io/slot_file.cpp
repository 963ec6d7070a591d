#include "slot_file.h"

#include <nibble/core/error.h>

namespace nibble::io {

SlotFile::SlotFile(const std::filesystem::path& path, std::string_view header)
    : file_(path), data_begin_(header.size()) {
  file_.stream().write(header.data(), static_cast<std::streamsize>(header.size()));
}

void SlotFile::reserve(const std::string& name, uint64_t offset, uint64_t bytes, uint64_t padding) {
  const bool is_new = slots_.emplace(name, Slot{offset, bytes, padding}).second;
  NIBBLE_CHECK(is_new, file_.path().string(), ": two tensors are named \"", name, "\"");
}

void SlotFile::write(const std::string& name, std::span<const std::byte> bytes) {
  const auto found = slots_.find(name);
  NIBBLE_CHECK(found != slots_.end(), file_.path().string(), ": tensor \"", name,
               "\" was not announced");
  Slot& slot = found->second;
  NIBBLE_CHECK(!slot.written, file_.path().string(), ": tensor \"", name, "\" is written twice");
  NIBBLE_CHECK(bytes.size() == slot.bytes, file_.path().string(), ": tensor \"", name, "\" holds ",
               bytes.size(), " bytes, its shape and dtype take ", slot.bytes);
  std::ostream& out = file_.stream();
  out.seekp(static_cast<std::streamoff>(data_begin_ + slot.offset));
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.write(std::string(slot.padding, '\0').data(), static_cast<std::streamsize>(slot.padding));
  slot.written = true;
}

void SlotFile::finish() {
  for (const auto& [name, slot] : slots_) {
    NIBBLE_CHECK(slot.written, file_.path().string(), ": tensor \"", name, "\" was not written");
  }
  file_.commit();
}

}  // namespace nibble::io
