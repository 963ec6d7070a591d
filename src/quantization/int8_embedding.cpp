#include <nibble/core/error.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

namespace nibble {

std::vector<io::NamedTensor> write_int8_embedding(const std::string& name,
                                                  const at::Tensor& weight) {
  const at::Tensor values = weight.detach().to(at::kFloat);
  at::Tensor scales = values.abs().amax(1, /*keepdim=*/true).div(127.0);
  scales = torch::where(scales.eq(0), torch::ones_like(scales), scales);
  const at::Tensor codes = values.div(scales).round().clamp(-127, 127).to(at::kChar);
  return {{name, tensor_io::to_tensor_data(codes)},
          {name + "_scale", tensor_io::to_tensor_data(scales)}};
}

at::Tensor read_int8_embedding(const std::string& name, const at::Tensor& codes,
                               const at::Tensor& scales) {
  NIBBLE_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kChar, name, " must be int8 [rows, ",
               "features], got ", codes.scalar_type(), " ", codes.sizes());
  NIBBLE_CHECK(scales.dim() == 2 && scales.size(0) == codes.size(0) && scales.size(1) == 1 &&
                   scales.scalar_type() == at::kFloat,
               name, "_scale must be float32 [", codes.size(0), ", 1], got ", scales.scalar_type(),
               " ", scales.sizes());
  return codes.to(at::kFloat).mul(scales);
}

}  // namespace nibble
