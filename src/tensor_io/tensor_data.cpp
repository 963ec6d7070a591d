#include <nibble/core/error.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <ATen/ops/from_blob.h>

#include <array>
#include <memory>
#include <utility>

namespace nibble::tensor_io {
namespace {

constexpr std::array<std::pair<io::DType, at::ScalarType>, 10> kDTypes = {{
    {io::DType::kF64, at::kDouble},
    {io::DType::kF32, at::kFloat},
    {io::DType::kF16, at::kHalf},
    {io::DType::kBF16, at::kBFloat16},
    {io::DType::kI64, at::kLong},
    {io::DType::kI32, at::kInt},
    {io::DType::kI16, at::kShort},
    {io::DType::kI8, at::kChar},
    {io::DType::kU8, at::kByte},
    {io::DType::kBool, at::kBool},
}};

}  // namespace

io::DType dtype_of(at::ScalarType dtype) {
  for (const auto& [file_dtype, candidate] : kDTypes) {
    if (candidate == dtype) return file_dtype;
  }
  fail("a tensor of dtype ", dtype, " cannot be stored in a file");
}

at::ScalarType scalar_type_of(io::DType dtype) {
  for (const auto& [candidate, scalar_type] : kDTypes) {
    if (candidate == dtype) return scalar_type;
  }
  fail("tensor data of dtype ", io::name_of(dtype), " have no tensor type");
}

const char* torch_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    default:
      fail("a model is stored as float32, bfloat16 or float16, not as ", dtype);
  }
}

at::Tensor to_tensor(const io::TensorData& data) {
  return at::from_blob(
      const_cast<std::byte*>(data.bytes.data()), data.shape,
      [owner = data.owner](void*) mutable { owner.reset(); },
      at::TensorOptions(scalar_type_of(data.dtype)));
}

io::TensorData to_tensor_data(const at::Tensor& tensor) {
  const auto dense = std::make_shared<at::Tensor>(tensor.detach().cpu().contiguous());
  const auto* bytes = static_cast<const std::byte*>(dense->const_data_ptr());
  return {.dtype = dtype_of(tensor.scalar_type()),
          .shape = dense->sizes().vec(),
          .bytes = {bytes, dense->nbytes()},
          .owner = dense};
}

}  // namespace nibble::tensor_io
