#pragma once

#include <nibble/kernels/fake_quant.h>
#include <nibble/numerics/float_types.h>
#include <nibble/numerics/pack_int4.h>

#include <cstring>
#include <memory>
#include <new>
#include <vector>

/// Operands of the product kernels, in the dtypes that kernels know.
namespace nibble::tests {

/// Memory at an address that is a multiple of 64, as kernels want their scratch.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t size)
      : bytes_(static_cast<uint8_t*>(::operator new(static_cast<size_t>(size), kAlignment))) {}
  uint8_t* data() const { return bytes_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(uint8_t* bytes) const { ::operator delete(bytes, kAlignment); }
  };
  std::unique_ptr<uint8_t, Delete> bytes_;
};

/// Calls body(T{}) with the element type that `dtype` names.
template <class Body>
auto with_type(kernels::DType dtype, Body&& body) {
  switch (dtype) {
    case kernels::DType::kBFloat16:
      return body(numerics::BFloat16{});
    case kernels::DType::kFloat16:
      return body(numerics::Float16{});
    case kernels::DType::kFloat32:
      break;
  }
  return body(0.0f);
}

/// Floats rounded to a dtype, stored in it.
class TypedBuffer {
 public:
  TypedBuffer() = default;
  TypedBuffer(kernels::DType dtype, const std::vector<float>& values) : dtype_(dtype) {
    with_type(dtype, [&](auto type) {
      using T = decltype(type);
      bytes_.resize(values.size() * sizeof(T));
      for (size_t i = 0; i < values.size(); ++i) {
        const T value(values[i]);
        std::memcpy(bytes_.data() + i * sizeof(T), &value, sizeof(T));
      }
    });
  }
  void* data() { return bytes_.data(); }
  const void* data() const { return bytes_.data(); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  float at(int64_t index) const {
    return with_type(dtype_, [&](auto type) {
      using T = decltype(type);
      T value;
      std::memcpy(&value, bytes_.data() + static_cast<size_t>(index) * sizeof(T), sizeof(T));
      return static_cast<float>(value);
    });
  }

 private:
  kernels::DType dtype_ = kernels::DType::kFloat32;
  std::vector<uint8_t> bytes_;
};

/// Codes minus `smallest`, packed row by row (numerics/pack_int4.h).
inline std::vector<uint8_t> pack_rows(const std::vector<int8_t>& codes, int64_t cols,
                                      int smallest) {
  const int64_t rows = static_cast<int64_t>(codes.size()) / cols;
  std::vector<uint8_t> packed(static_cast<size_t>(rows * numerics::packed_row_bytes(cols)));
  for (int64_t row = 0; row < rows; ++row) {
    uint8_t* target = packed.data() + row * numerics::packed_row_bytes(cols);
    for (int64_t col = 0; col < cols; ++col) {
      numerics::set_nibble(target, col, codes[static_cast<size_t>(row * cols + col)] - smallest);
    }
  }
  return packed;
}

}  // namespace nibble::tests
