#include <nibble/ops/autocast.h>

#include <ATen/autocast_mode.h>

namespace nibble::ops {

bool is_autocast(const at::Tensor& x) {
  const at::DeviceType device = x.device().type();
  return (device == at::kCPU || device == at::kCUDA) && x.scalar_type() != at::kDouble &&
         at::autocast::is_autocast_enabled(device);
}

at::ScalarType matmul_dtype(const at::Tensor& x) {
  return is_autocast(x) ? at::autocast::get_autocast_dtype(x.device().type()) : x.scalar_type();
}

}  // namespace nibble::ops
