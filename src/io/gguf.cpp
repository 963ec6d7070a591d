#include <nibble/core/error.h>
#include <nibble/io/gguf.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <limits>

#include "gguf_format.h"

namespace nibble::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian");

constexpr uint32_t kMaxDimensions = 4;  // GGML_MAX_DIMS
constexpr int kMaxArrayDepth = 8;
constexpr uint64_t kMaxArrayLength = 1 << 24;  // vocabularies have fewer than 2^19 tokens

/// The fewest bytes a value of each type takes.
constexpr std::array<uint64_t, 13> kMinValueBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
/// A key (its length), a type and a value; a name, a dimension count, a type and an offset.
constexpr uint64_t kMinPairBytes = 8 + 4 + 1;
constexpr uint64_t kMinTensorInfoBytes = 8 + 4 + 4 + 8;

/// Takes values off the front of a file and never reads past its end.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::string origin)
      : bytes_(bytes), origin_(std::move(origin)) {}

  size_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }
  const std::string& origin() const { return origin_; }

  std::span<const std::byte> take(uint64_t count, std::string_view what) {
    NIBBLE_CHECK(count <= remaining(), origin_, ": truncated at byte ", position_, ": ", what,
                 " takes ", count, " bytes, ", remaining(), " are left");
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string string(std::string_view what) {
    const auto text = take(number<uint64_t>(what), what);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  /// A count of things that take at least `min_bytes` each: more than fit the file is an error.
  uint64_t count(uint64_t min_bytes, std::string_view what) {
    const uint64_t value = number<uint64_t>(what);
    check_fits(value, min_bytes, what);
    return value;
  }

  void check_fits(uint64_t value, uint64_t min_bytes, std::string_view what) const {
    NIBBLE_CHECK(value <= remaining() / min_bytes, origin_, ": ", what, " is ", value,
                 ", more than the ", remaining(), " bytes that are left can hold");
  }

 private:
  std::span<const std::byte> bytes_;
  std::string origin_;
  size_t position_ = 0;
};

ValueType read_value_type(Reader& reader, const std::string& key) {
  const uint32_t type = reader.number<uint32_t>("a value type");
  NIBBLE_CHECK(type < kMinValueBytes.size(), reader.origin(), ": metadata \"", key,
               "\" has the unknown value type ", type);
  return static_cast<ValueType>(type);
}

bool read_bool(Reader& reader, const std::string& key) {
  const uint8_t value = reader.number<uint8_t>(key);
  NIBBLE_CHECK(value <= 1, reader.origin(), ": metadata \"", key, "\" is a bool of value ",
               static_cast<int>(value));
  return value == 1;
}

json read_array(Reader& reader, const std::string& key, int depth);

json read_value(Reader& reader, ValueType type, const std::string& key, int depth) {
  switch (type) {
    case ValueType::kUint8:
      return reader.number<uint8_t>(key);
    case ValueType::kInt8:
      return reader.number<int8_t>(key);
    case ValueType::kUint16:
      return reader.number<uint16_t>(key);
    case ValueType::kInt16:
      return reader.number<int16_t>(key);
    case ValueType::kUint32:
      return reader.number<uint32_t>(key);
    case ValueType::kInt32:
      return reader.number<int32_t>(key);
    case ValueType::kUint64:
      return reader.number<uint64_t>(key);
    case ValueType::kInt64:
      return reader.number<int64_t>(key);
    case ValueType::kFloat32:
      return reader.number<float>(key);
    case ValueType::kFloat64:
      return reader.number<double>(key);
    case ValueType::kBool:
      return read_bool(reader, key);
    case ValueType::kString:
      return reader.string(key);
    case ValueType::kArray:
      return read_array(reader, key, depth + 1);
  }
  fail(reader.origin(), ": metadata \"", key, "\" has no value type");
}

json read_array(Reader& reader, const std::string& key, int depth) {
  NIBBLE_CHECK(depth <= kMaxArrayDepth, reader.origin(), ": metadata \"", key,
               "\" nests arrays deeper than ", kMaxArrayDepth);
  const ValueType type = read_value_type(reader, key);
  const uint64_t length = reader.count(kMinValueBytes[static_cast<size_t>(type)],
                                       "the length of array \"" + key + "\"");
  NIBBLE_CHECK(length <= kMaxArrayLength, reader.origin(), ": metadata array \"", key, "\" has ",
               length, " elements, at most ", kMaxArrayLength, " are allowed");
  json::array_t array;
  array.reserve(length);
  for (uint64_t i = 0; i < length; ++i) array.push_back(read_value(reader, type, key, depth));
  return array;
}

void read_magic_and_version(Reader& reader) {
  const std::string origin = reader.origin();
  NIBBLE_CHECK(reader.remaining() >= kMagic.size(), origin, ": not a GGUF file: it has ",
               reader.remaining(), " bytes");
  const auto magic = reader.take(kMagic.size(), "the magic");
  NIBBLE_CHECK(std::memcmp(magic.data(), kMagic.data(), kMagic.size()) == 0, origin,
               ": not a GGUF file: it does not start with \"GGUF\"");
  const uint32_t version = reader.number<uint32_t>("the version");
  NIBBLE_CHECK(version == 0 || (version & 0xffff) != 0, origin,
               ": big-endian GGUF files are not supported");
  NIBBLE_CHECK(version == 2 || version == 3, origin, ": GGUF version ", version,
               " is not supported (2 and 3 are)");
}

json read_metadata(Reader& reader, uint64_t count) {
  reader.check_fits(count, kMinPairBytes, "the number of metadata entries");
  json metadata = json::object();
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key = reader.string("a metadata key");
    const ValueType type = read_value_type(reader, key);
    const bool is_first = metadata.emplace(key, read_value(reader, type, key, 0)).second;
    NIBBLE_CHECK(is_first, reader.origin(), ": metadata \"", key, "\" stands twice");
  }
  return metadata;
}

uint64_t alignment_of(const json& metadata, const std::string& origin) {
  const auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return kDefaultAlignment;
  NIBBLE_CHECK(found->is_number_unsigned() && std::has_single_bit(found->get<uint64_t>()), origin,
               ": general.alignment is ",
               found->dump(-1, ' ', true, json::error_handler_t::replace),
               ", it must be a power of two");
  return found->get<uint64_t>();
}

/// A tensor description as it stands in the file.
struct TensorInfo {
  std::string name;
  GgufTensor tensor;
  uint64_t offset = 0;  // in the data section
  uint64_t bytes = 0;
};

std::vector<int64_t> read_shape(Reader& reader, const std::string& where) {
  const uint32_t dimensions = reader.number<uint32_t>(where);
  NIBBLE_CHECK(dimensions <= kMaxDimensions, where, " has ", dimensions, " dimensions, at most ",
               kMaxDimensions, " are allowed");
  std::vector<int64_t> shape(dimensions);
  for (int64_t& size : shape) {
    const uint64_t value = reader.number<uint64_t>(where);
    NIBBLE_CHECK(value >= 1 && value <= std::numeric_limits<int64_t>::max(), where,
                 ": a dimension of ", value, ", allowed is 1 to 2^63 - 1");
    size = static_cast<int64_t>(value);
  }
  std::reverse(shape.begin(), shape.end());
  return shape;
}

const GgmlType* read_tensor_type(Reader& reader, const std::string& where) {
  const uint32_t id = reader.number<uint32_t>(where);
  const GgmlType* type = find_ggml_type(id);
  NIBBLE_CHECK(type != nullptr, where, ": type ", ggml_type_name(id), " is not supported (",
               supported_ggml_types(), " are)");
  return type;
}

uint64_t byte_size(const GgufTensor& tensor, const std::string& where) {
  const std::optional<int64_t> numel = checked_numel(tensor.shape);
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  NIBBLE_CHECK(row % tensor.type->block_elements == 0, where, ": rows of ", row,
               " elements do not divide into ", tensor.type->name, " blocks of ",
               tensor.type->block_elements);
  int64_t bytes = 0;
  NIBBLE_CHECK(numel && !__builtin_mul_overflow(*numel / tensor.type->block_elements,
                                                tensor.type->block_bytes, &bytes),
               where, ": its shape overflows 64 bits");
  return static_cast<uint64_t>(bytes);
}

TensorInfo read_tensor_info(Reader& reader) {
  TensorInfo info;
  info.name = reader.string("a tensor name");
  const std::string where = reader.origin() + ": tensor \"" + info.name + "\"";
  info.tensor.shape = read_shape(reader, where);
  info.tensor.type = read_tensor_type(reader, where);
  info.offset = reader.number<uint64_t>(where);
  info.bytes = byte_size(info.tensor, where);
  return info;
}

std::vector<TensorInfo> read_tensor_infos(Reader& reader, uint64_t count) {
  reader.check_fits(count, kMinTensorInfoBytes, "the number of tensors");
  std::vector<TensorInfo> infos;
  infos.reserve(count);
  for (uint64_t i = 0; i < count; ++i) infos.push_back(read_tensor_info(reader));
  return infos;
}

/// The bytes behind the tensor descriptions, from the next aligned address on.
std::span<const std::byte> data_section(Reader& reader, uint64_t alignment) {
  const uint64_t beyond = reader.position() % alignment;
  if (beyond != 0) reader.take(alignment - beyond, "the padding before the tensor data");
  return reader.take(reader.remaining(), "the tensor data");
}

void place_in_data(std::vector<TensorInfo>& infos, std::span<const std::byte> data,
                   uint64_t alignment, const std::string& origin) {
  for (TensorInfo& info : infos) {
    NIBBLE_CHECK(info.offset % alignment == 0, origin, ": tensor \"", info.name, "\" at offset ",
                 info.offset, " is not aligned to ", alignment, " bytes");
    NIBBLE_CHECK(info.offset <= data.size() && info.bytes <= data.size() - info.offset, origin,
                 ": truncated: tensor \"", info.name, "\" takes ", info.bytes, " bytes at offset ",
                 info.offset, ", the file holds ", data.size(), " bytes of data");
    info.tensor.bytes = data.subspan(info.offset, info.bytes);
  }
}

void check_no_overlap(const std::vector<TensorInfo>& infos, const std::string& origin) {
  std::vector<const TensorInfo*> sorted;
  for (const TensorInfo& info : infos) {
    if (info.bytes != 0) sorted.push_back(&info);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    const TensorInfo &before = *sorted[i - 1], &after = *sorted[i];
    NIBBLE_CHECK(before.offset + before.bytes <= after.offset, origin, ": tensors \"", before.name,
                 "\" and \"", after.name, "\" overlap");
  }
}

}  // namespace

GgufFile::GgufFile(const fs::path& path) : file_(path) {
  Reader reader(file_.bytes(), path.string());
  read_magic_and_version(reader);
  const uint64_t tensor_count = reader.number<uint64_t>("the number of tensors");
  const uint64_t pair_count = reader.number<uint64_t>("the number of metadata entries");
  metadata_ = std::make_shared<const json>(read_metadata(reader, pair_count));
  const uint64_t alignment = alignment_of(*metadata_, reader.origin());
  std::vector<TensorInfo> infos = read_tensor_infos(reader, tensor_count);
  // A file of metadata alone need not be padded.
  if (!infos.empty()) {
    place_in_data(infos, data_section(reader, alignment), alignment, reader.origin());
    check_no_overlap(infos, reader.origin());
  }
  for (TensorInfo& info : infos) {
    const bool is_first = tensors_.emplace(info.name, std::move(info.tensor)).second;
    NIBBLE_CHECK(is_first, reader.origin(), ": two tensors are named \"", info.name, "\"");
    names_.push_back(std::move(info.name));
  }
}

const GgufTensor& GgufFile::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  NIBBLE_CHECK(found != tensors_.end(), path().string(), ": no tensor named \"", name, "\"");
  return found->second;
}

TensorData GgufFile::read(const std::string& name) const {
  const GgufTensor& stored = at(name);
  if (stored.type->dtype) {
    return aligned({*stored.type->dtype, stored.shape, stored.bytes, file_.owner()});
  }
  const auto blocks = static_cast<int64_t>(stored.bytes.size()) / stored.type->block_bytes;
  auto values = std::make_shared<std::vector<float>>(
      static_cast<size_t>(blocks * stored.type->block_elements));
  stored.type->dequantize(stored.bytes.data(), blocks, values->data());
  return {DType::kF32, stored.shape, std::as_bytes(std::span(*values)), values};
}

bool is_gguf(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::array<char, kMagic.size()> start{};
  in.read(start.data(), start.size());
  return in && std::string_view(start.data(), start.size()) == kMagic;
}

}  // namespace nibble::io
