#include <nibble/core/error.h>
#include <nibble/models/tensor_data.h>

#include <ATen/ops/from_blob.h>

#include <array>
#include <memory>
#include <utility>

namespace nibble::models {
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

at::Tensor to_tensor(const io::TensorData& data) {
  for (const auto& [file_dtype, dtype] : kDTypes) {
    if (file_dtype != data.dtype) continue;
    return at::from_blob(
        const_cast<std::byte*>(data.bytes.data()), data.shape,
        [owner = data.owner](void*) mutable { owner.reset(); }, at::TensorOptions(dtype));
  }
  fail("tensor data of dtype ", io::name_of(data.dtype), " have no tensor type");
}

io::TensorData to_tensor_data(const at::Tensor& tensor) {
  for (const auto& [file_dtype, dtype] : kDTypes) {
    if (dtype != tensor.scalar_type()) continue;
    const auto dense = std::make_shared<at::Tensor>(tensor.detach().cpu().contiguous());
    const auto* bytes = static_cast<const std::byte*>(dense->const_data_ptr());
    return {.dtype = file_dtype,
            .shape = dense->sizes().vec(),
            .bytes = {bytes, dense->nbytes()},
            .owner = dense};
  }
  fail("a tensor of dtype ", tensor.scalar_type(), " cannot be stored in a file");
}

}  // namespace nibble::models
