#include <nibble/core/error.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "safetensors_format.h"

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The header's text; checks the length that the file states.
std::string_view header_of(std::span<const std::byte> file, const std::string& origin) {
  NIBBLE_CHECK(file.size() >= kLengthBytes, origin, ": not a safetensors file: ", file.size(),
               " bytes, at least 8 are needed");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  NIBBLE_CHECK(length <= kMaxHeaderBytes, origin, ": not a safetensors file: header of ", length,
               " bytes, at most ", kMaxHeaderBytes, " are allowed");
  NIBBLE_CHECK(length <= file.size() - kLengthBytes, origin, ": truncated: header of ", length,
               " bytes in a file of ", file.size());
  const std::string_view text = as_text(file.subspan(kLengthBytes, length));
  NIBBLE_CHECK(text.starts_with('{'), origin, ": not a safetensors file: no JSON header");
  return text;
}

/// One tensor of the header: its description and its place in the data section.
struct Entry {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

class EntryParser {
 public:
  EntryParser(const std::string& origin, const std::string& name, const json& value)
      : where_(origin + ": tensor \"" + name + "\""), value_(value) {
    NIBBLE_CHECK(value.is_object(), where_, ": its description is not an object");
  }

  DType dtype() const {
    const json& field = at("dtype");
    NIBBLE_CHECK(field.is_string(), where_, ": dtype is not a string");
    const std::optional<DType> dtype = dtype_from_name(field.get_ref<const std::string&>());
    NIBBLE_CHECK(dtype, where_, ": dtype ", field.dump(-1, ' ', true),
                 " is not supported (F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL are)");
    return *dtype;
  }

  std::vector<int64_t> shape() const {
    const json& field = at("shape");
    NIBBLE_CHECK(field.is_array(), where_, ": shape is not an array");
    std::vector<int64_t> shape;
    for (const json& size : field) {
      const uint64_t value = unsigned_of(size, "shape");
      NIBBLE_CHECK(value <= std::numeric_limits<int64_t>::max(), where_, ": dimension ", value,
                   " is too large");
      shape.push_back(static_cast<int64_t>(value));
    }
    return shape;
  }

  std::array<uint64_t, 2> offsets() const {
    const json& field = at("data_offsets");
    NIBBLE_CHECK(field.is_array() && field.size() == 2, where_,
                 ": data_offsets is not an array of two numbers");
    return {unsigned_of(field[0], "data_offsets"), unsigned_of(field[1], "data_offsets")};
  }

  /// Bytes that `shape` of `dtype` takes.
  uint64_t byte_size(DType dtype, const std::vector<int64_t>& shape) const {
    const std::optional<int64_t> numel = checked_numel(shape);
    int64_t bytes = 0;
    NIBBLE_CHECK(
        numel && !__builtin_mul_overflow(*numel, static_cast<int64_t>(item_size(dtype)), &bytes),
        where_, ": shape ", at("shape").dump(), " overflows 64 bits");
    return static_cast<uint64_t>(bytes);
  }

  const std::string& where() const { return where_; }

 private:
  const json& at(const char* key) const {
    const auto found = value_.find(key);
    NIBBLE_CHECK(found != value_.end(), where_, ": \"", key, "\" is missing");
    return *found;
  }
  uint64_t unsigned_of(const json& value, const char* field) const {
    NIBBLE_CHECK(value.is_number_unsigned(), where_, ": ", field,
                 " holds something that is not a non-negative integer");
    return value.get<uint64_t>();
  }

  std::string where_;
  const json& value_;
};

Entry parse_entry(const std::string& origin, const std::string& name, const json& value) {
  const EntryParser parser(origin, name, value);
  Entry entry{name, parser.dtype(), parser.shape()};
  const auto [begin, end] = parser.offsets();
  const uint64_t bytes = parser.byte_size(entry.dtype, entry.shape);
  NIBBLE_CHECK(begin <= end && end - begin == bytes, parser.where(), ": data_offsets [", begin,
               ", ", end, "] do not hold the ", bytes, " bytes of its shape and dtype");
  entry.begin = begin;
  entry.end = end;
  return entry;
}

std::map<std::string, std::string> parse_metadata(const std::string& origin, const json& value) {
  NIBBLE_CHECK(value.is_object(), origin, ": __metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    NIBBLE_CHECK(text.is_string(), origin, ": __metadata__[\"", key, "\"] is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

/// The tensors must tile the data section: no hole, no overlap, nothing behind.
void check_layout(const std::string& origin, const std::vector<Entry>& sorted, size_t data_bytes) {
  uint64_t position = 0;
  for (const Entry& entry : sorted) {
    NIBBLE_CHECK(entry.begin == position, origin, ": tensor \"", entry.name, "\" begins at offset ",
                 entry.begin, ", the one before it ends at ", position);
    NIBBLE_CHECK(entry.end <= data_bytes, origin, ": truncated: tensor \"", entry.name,
                 "\" ends at offset ", entry.end, ", the file holds ", data_bytes,
                 " bytes of data");
    position = entry.end;
  }
  NIBBLE_CHECK(position == data_bytes, origin, ": ", data_bytes - position,
               " bytes behind the last tensor");
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path) : path_(path) {
  const MappedFile file(path);
  const std::string origin = path.string();
  const std::string_view text = header_of(file.bytes(), origin);
  const json header = parse_json(text, origin + " (header)");
  const std::span<const std::byte> data = file.bytes().subspan(kLengthBytes + text.size());

  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadataKey) {
      metadata_ = parse_metadata(origin, value);
    } else {
      entries.push_back(parse_entry(origin, name, value));
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_layout(origin, entries, data.size());
  for (const Entry& entry : entries) {
    names_.push_back(entry.name);
    const auto bytes = data.subspan(entry.begin, entry.end - entry.begin);
    tensors_.emplace(entry.name, aligned({entry.dtype, entry.shape, bytes, file.owner()}));
  }
}

const TensorData& SafetensorsFile::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  NIBBLE_CHECK(found != tensors_.end(), path_.string(), ": no tensor named \"", name, "\"");
  return found->second;
}

}  // namespace nibble::io
