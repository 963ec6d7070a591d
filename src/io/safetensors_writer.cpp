#include <nibble/core/error.h>
#include <nibble/io/safetensors.h>
#include <nibble/io/safetensors_writer.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

#include "safetensors_format.h"
#include "slot_file.h"

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

/// Position in the reference implementation's order: larger elements first, so that every tensor is
/// aligned to its element size.
int write_rank(DType dtype) {
  switch (dtype) {
    case DType::kI64:
      return 0;
    case DType::kF64:
      return 1;
    case DType::kF32:
      return 2;
    case DType::kI32:
      return 3;
    case DType::kBF16:
      return 4;
    case DType::kF16:
      return 5;
    case DType::kI16:
      return 6;
    case DType::kI8:
      return 7;
    case DType::kU8:
      return 8;
    case DType::kBool:
      return 9;
  }
  return 10;
}

void sort_in_write_order(std::vector<TensorInfo>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    const int rank_a = write_rank(a.dtype), rank_b = write_rank(b.dtype);
    return rank_a != rank_b ? rank_a < rank_b : a.name < b.name;
  });
}

/// The header's JSON, padded with spaces to a multiple of 8 bytes.
std::string make_header(const std::string& origin, const std::vector<TensorInfo>& order,
                        const std::map<std::string, std::string>& metadata) {
  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  // ordered_json looks keys up one by one; the names are unique, so they are appended.
  auto& members = header.get_ref<ordered_json::object_t&>();
  int64_t offset = 0;
  for (const TensorInfo& tensor : order) {
    const int64_t end = offset + tensor.byte_size();
    ordered_json entry = {
        {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    members.emplace_back(tensor.name, std::move(entry));
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {
    fail(origin, ": a name cannot be written as JSON: ", error.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  NIBBLE_CHECK(text.size() <= kMaxHeaderBytes, origin, ": the header would take ", text.size(),
               " bytes, at most ", kMaxHeaderBytes, " are allowed");
  return text;
}

std::string with_length(const std::string& header) {
  const uint64_t length = header.size();
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header;
}

}  // namespace

int64_t TensorInfo::byte_size() const {
  const std::optional<int64_t> numel = checked_numel(shape);
  int64_t bytes = 0;
  NIBBLE_CHECK(
      numel && !__builtin_mul_overflow(*numel, static_cast<int64_t>(item_size(dtype)), &bytes),
      "tensor \"", name, "\": its shape overflows 64 bits");
  return bytes;
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, std::vector<TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  const std::string origin = path.string();
  for (const TensorInfo& tensor : tensors) {
    NIBBLE_CHECK(tensor.name != kMetadataKey, origin, ": a tensor cannot be named __metadata__");
    NIBBLE_CHECK(tensors_.emplace(tensor.name, tensor).second, origin, ": two tensors are named \"",
                 tensor.name, "\"");
  }
  sort_in_write_order(tensors);
  file_ = std::make_unique<SlotFile>(path, with_length(make_header(origin, tensors, metadata)));
  uint64_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    const auto bytes = static_cast<uint64_t>(tensor.byte_size());
    file_->reserve(tensor.name, offset, bytes);
    offset += bytes;
  }
}

SafetensorsWriter::~SafetensorsWriter() = default;
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;

void SafetensorsWriter::write(const std::string& name, const TensorData& data) {
  const auto announced = tensors_.find(name);
  NIBBLE_CHECK(announced == tensors_.end() ||
                   (announced->second.dtype == data.dtype && announced->second.shape == data.shape),
               "tensor \"", name, "\" was announced with another shape or dtype");
  file_->write(name, data.bytes);
}

void SafetensorsWriter::finish() { file_->finish(); }

void write_safetensors(const fs::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, data] : tensors) infos.push_back({name, data.dtype, data.shape});
  SafetensorsWriter writer(path, std::move(infos), metadata);
  for (const auto& [name, data] : tensors) writer.write(name, data);
  writer.finish();
}

}  // namespace nibble::io
