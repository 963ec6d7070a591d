#include <nibble/quantization/int8_embedding.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

namespace nibble {

nn::Int8Weight quantize_int8(const at::Tensor& weight) {
  const at::Tensor values = weight.detach().to(at::kFloat);
  const at::Tensor exact = values.abs().amax(1, /*keepdim=*/true).div(127.0);
  const at::Tensor halves = exact.to(at::kHalf).to(at::kFloat);
  constexpr double kSmallestNormal = 0x1p-14, kLargest = 65504.0;
  const at::Tensor has_all_bits = exact.ge(kSmallestNormal).logical_and(halves.le(kLargest));
  at::Tensor scales = torch::where(has_all_bits, halves, exact);
  scales = torch::where(scales.eq(0), torch::ones_like(scales), scales);
  return {values.div(scales).round().clamp(-127, 127).to(at::kChar), scales};
}

std::vector<io::NamedTensor> write_int8_embedding(const std::string& name,
                                                  const nn::Int8Weight& weight) {
  return {{name, tensor_io::to_tensor_data(weight.codes)},
          {name + "_scale", tensor_io::to_tensor_data(weight.scales)}};
}

io::Int8Matrix read_int8_embedding(const std::string& name, const io::Checkpoint& stored) {
  io::Int8Matrix matrix{stored.read(name), stored.read(name + "_scale")};
  const std::vector<int64_t>& shape = matrix.codes.shape;
  to_int8_weight(matrix).check(name.c_str(), shape.empty() ? 0 : shape.front(),
                               shape.empty() ? 0 : shape.back());
  return matrix;
}

nn::Int8Weight to_int8_weight(const io::Int8Matrix& matrix) {
  return {tensor_io::to_tensor(matrix.codes), tensor_io::to_tensor(matrix.scales)};
}

}  // namespace nibble
