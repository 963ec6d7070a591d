#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::io::testing {

/// Little-endian bytes of numbers and strings as GGUF writes them.
class Bytes {
 public:
  template <class T>
  Bytes& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Bytes& string(std::string_view value) {
    number<uint64_t>(value.size());
    text_ += value;
    return *this;
  }
  Bytes& raw(std::string_view value) {
    text_ += value;
    return *this;
  }
  Bytes& pad(size_t alignment) {
    while (alignment != 0 && text_.size() % alignment != 0) text_ += '\0';
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Metadata value types.
enum : uint32_t {
  kGgufUint8,
  kGgufInt8,
  kGgufUint16,
  kGgufInt16,
  kGgufUint32,
  kGgufInt32,
  kGgufFloat32,
  kGgufBool,
  kGgufString,
  kGgufArray,
  kGgufUint64,
  kGgufInt64,
  kGgufFloat64
};

/// Puts a GGUF file together, right or deliberately wrong.
class GgufBuilder {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;

  /// `value` is the bytes behind the type.
  GgufBuilder& add(std::string_view key, uint32_t type, const Bytes& value) {
    metadata_.string(key).number(type).raw(value.text());
    ++pairs;
    return *this;
  }
  GgufBuilder& string(std::string_view key, std::string_view value) {
    return add(key, kGgufString, Bytes().string(value));
  }
  GgufBuilder& uint32(std::string_view key, uint32_t value) {
    return add(key, kGgufUint32, Bytes().number(value));
  }
  GgufBuilder& float32(std::string_view key, float value) {
    return add(key, kGgufFloat32, Bytes().number(value));
  }
  GgufBuilder& strings(std::string_view key, const std::vector<std::string>& values) {
    Bytes bytes;
    bytes.number(uint32_t{kGgufString}).number<uint64_t>(values.size());
    for (const std::string& value : values) bytes.string(value);
    return add(key, kGgufArray, bytes);
  }
  GgufBuilder& int32s(std::string_view key, const std::vector<int32_t>& values) {
    Bytes bytes;
    bytes.number(uint32_t{kGgufInt32}).number<uint64_t>(values.size());
    for (const int32_t value : values) bytes.number(value);
    return add(key, kGgufArray, bytes);
  }
  /// `dimensions` innermost first, as in the file. The data follows the tensor before it.
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
                      std::string_view data) {
    data_.pad(alignment);
    return tensor_at(name, dimensions, type, data_.text().size(), data);
  }
  GgufBuilder& tensor_at(std::string_view name, const std::vector<uint64_t>& dimensions,
                         uint32_t type, uint64_t offset, std::string_view data) {
    infos_.string(name).number(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t size : dimensions) infos_.number(size);
    infos_.number(type).number(offset);
    data_.raw(data);
    ++tensors;
    return *this;
  }

  /// Everything before the tensor data.
  std::string header() const {
    Bytes file;
    file.raw("GGUF").number(version).number(tensors).number(pairs);
    return file.raw(metadata_.text()).raw(infos_.text()).pad(alignment).text();
  }
  std::string build() const { return header() + data_.text(); }

  uint64_t tensors = 0, pairs = 0;

 private:
  Bytes metadata_, infos_, data_;
};

/// The bytes of `values`.
template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace nibble::io::testing
