#include <nibble/core/error.h>
#include <nibble/io/tensor_data.h>

#include <array>

namespace nibble::io {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  size_t bytes;
};

constexpr std::array kDTypes = {
    DTypeRow{DType::kF64, "F64", 8}, DTypeRow{DType::kF32, "F32", 4},
    DTypeRow{DType::kF16, "F16", 2}, DTypeRow{DType::kBF16, "BF16", 2},
    DTypeRow{DType::kI64, "I64", 8}, DTypeRow{DType::kI32, "I32", 4},
    DTypeRow{DType::kI16, "I16", 2}, DTypeRow{DType::kI8, "I8", 1},
    DTypeRow{DType::kU8, "U8", 1},   DTypeRow{DType::kBool, "BOOL", 1},
};

const DTypeRow& row(DType dtype) {
  for (const DTypeRow& candidate : kDTypes) {
    if (candidate.dtype == dtype) return candidate;
  }
  fail("no such io::DType: ", static_cast<int>(dtype));
}

}  // namespace

size_t item_size(DType dtype) { return row(dtype).bytes; }

std::string_view name_of(DType dtype) { return row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeRow& candidate : kDTypes) {
    if (candidate.name == name) return candidate.dtype;
  }
  return std::nullopt;
}

std::optional<int64_t> checked_numel(std::span<const int64_t> shape) {
  int64_t product = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return product;
}

int64_t TensorData::numel() const {
  const std::optional<int64_t> product = checked_numel(shape);
  NIBBLE_CHECK(product, "tensor shape with a negative dimension or more than 2^63 elements");
  return *product;
}

TensorData aligned(TensorData tensor) {
  if (reinterpret_cast<uintptr_t>(tensor.bytes.data()) % item_size(tensor.dtype) == 0) {
    return tensor;
  }
  auto copy = std::make_shared<std::vector<std::byte>>(tensor.bytes.begin(), tensor.bytes.end());
  tensor.bytes = *copy;
  tensor.owner = std::move(copy);
  return tensor;
}

}  // namespace nibble::io
