#include "gguf_int8.h"

#include <nibble/io/ggml_encode.h>

#include <memory>

namespace nibble::io {
namespace {

template <class T>
TensorData on_heap(DType dtype, std::vector<int64_t> shape,
                   std::shared_ptr<std::vector<T>> values) {
  return {dtype, std::move(shape), std::as_bytes(std::span(*values)), values};
}

}  // namespace

std::optional<Int8Matrix> int8_matrix_of(const GgufTensor& tensor) {
  if (tensor.type->split_int8 == nullptr || tensor.shape.size() != 2) return std::nullopt;
  const int64_t rows = tensor.shape[0], columns = tensor.shape[1], groups = columns / kGgmlBlock;
  auto codes = std::make_shared<std::vector<int8_t>>(static_cast<size_t>(rows * columns));
  auto scales = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * groups));
  tensor.type->split_int8(tensor.bytes.data(), rows * groups, codes->data(), scales->data());
  return Int8Matrix{on_heap(DType::kI8, {rows, columns}, std::move(codes)),
                    on_heap(DType::kF32, {rows, groups}, std::move(scales))};
}

}  // namespace nibble::io
