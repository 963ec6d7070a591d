#include <nibble/core/error.h>
#include <nibble/io/gguf_writer.h>
#include <nibble/io/tensor_data.h>

#include <set>
#include <string_view>

#include "gguf_format.h"
#include "slot_file.h"

namespace nibble::io {
namespace {

constexpr uint32_t kVersion = 3;

/// Little-endian bytes of a header.
class Header {
 public:
  template <class T>
  void number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void string(std::string_view value) {
    number<uint64_t>(value.size());
    text_ += value;
  }
  void raw(std::string_view value) { text_ += value; }
  void pad() { text_.resize((text_.size() + kDefaultAlignment - 1) & ~(kDefaultAlignment - 1)); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Writes the type and the value of a metadata entry.
struct ValueWriter {
  Header& out;

  void type(ValueType type) const { out.number(static_cast<uint32_t>(type)); }
  void operator()(uint32_t value) const {
    type(ValueType::kUint32);
    out.number(value);
  }
  void operator()(float value) const {
    type(ValueType::kFloat32);
    out.number(value);
  }
  void operator()(bool value) const {
    type(ValueType::kBool);
    out.number<uint8_t>(value ? 1 : 0);
  }
  void operator()(const std::string& value) const {
    type(ValueType::kString);
    out.string(value);
  }
  void operator()(const std::vector<std::string>& values) const {
    type(ValueType::kArray);
    type(ValueType::kString);
    out.number<uint64_t>(values.size());
    for (const std::string& value : values) out.string(value);
  }
  void operator()(const std::vector<int32_t>& values) const {
    type(ValueType::kArray);
    type(ValueType::kInt32);
    out.number<uint64_t>(values.size());
    for (const int32_t value : values) out.number(value);
  }
};

uint64_t padding_behind(uint64_t bytes) { return -bytes & (kDefaultAlignment - 1); }

}  // namespace

uint64_t GgufTensorInfo::byte_size() const {
  const std::optional<int64_t> numel = checked_numel(shape);
  const int64_t row = shape.empty() ? 1 : shape.back();
  int64_t bytes = 0;
  NIBBLE_CHECK(
      numel && row % type->block_elements == 0 &&
          !__builtin_mul_overflow(*numel / type->block_elements, type->block_bytes, &bytes),
      "tensor \"", name, "\": rows of ", row, " elements do not divide into ", type->name,
      " blocks of ", type->block_elements, ", or its shape overflows 64 bits");
  return static_cast<uint64_t>(bytes);
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const std::vector<GgufEntry>& metadata,
                       const std::vector<GgufTensorInfo>& tensors) {
  Header header;
  header.raw(kMagic);
  header.number(kVersion);
  header.number<uint64_t>(tensors.size());
  header.number<uint64_t>(metadata.size());
  std::set<std::string_view> keys;
  for (const GgufEntry& entry : metadata) {
    NIBBLE_CHECK(keys.insert(entry.key).second, path.string(), ": the key ", entry.key,
                 " stands twice");
    header.string(entry.key);
    std::visit(ValueWriter{header}, entry.value);
  }
  uint64_t offset = 0;
  for (const GgufTensorInfo& tensor : tensors) {
    header.string(tensor.name);
    header.number<uint32_t>(static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      header.number<uint64_t>(static_cast<uint64_t>(*size));
    }
    header.number<uint32_t>(tensor.type->id);
    header.number<uint64_t>(offset);
    offset += tensor.byte_size() + padding_behind(tensor.byte_size());
  }
  header.pad();
  file_ = std::make_unique<SlotFile>(path, header.text());
  offset = 0;
  for (const GgufTensorInfo& tensor : tensors) {
    const uint64_t bytes = tensor.byte_size();
    file_->reserve(tensor.name, offset, bytes, padding_behind(bytes));
    offset += bytes + padding_behind(bytes);
  }
}

GgufWriter::~GgufWriter() = default;

void GgufWriter::write(const std::string& name, std::span<const std::byte> bytes) {
  file_->write(name, bytes);
}

void GgufWriter::finish() { file_->finish(); }

}  // namespace nibble::io
