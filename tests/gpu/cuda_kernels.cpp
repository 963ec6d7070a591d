#include "gpu/cuda_kernels.h"

#include <nibble/kernels/fake_quant_cuda.h>
#include <nibble/numerics/pack_int4.h>

#include "gpu/cuda_error.h"
#include "grid_dispatch.h"

namespace nibble::tests {
namespace {

using kernels::DType;
using kernels::GroupedMatrix;

constexpr uintptr_t kAlignment = 16;

int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

/// A device copy of `bytes` at `host`; null for null.
class Mirror {
 public:
  Mirror(const void* host, int64_t bytes)
      : host_(host), bytes_(static_cast<size_t>(bytes)), shift_(address(host) % kAlignment) {
    if (host == nullptr) return;
    NIBBLE_CHECK_CUDA(cudaMalloc(&base_, shift_ + bytes_ + 1));
    NIBBLE_CHECK_CUDA(cudaMemcpy(device(), host, bytes_, cudaMemcpyHostToDevice));
  }
  ~Mirror() { cudaFree(base_); }
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  template <class T = void>
  T* device() const {
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(static_cast<char*>(base_) + shift_);
  }
  void copy_back() const {
    if (base_ == nullptr) return;
    NIBBLE_CHECK_CUDA(
        cudaMemcpy(const_cast<void*>(host_), device(), bytes_, cudaMemcpyDeviceToHost));
  }

 private:
  static uintptr_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

  const void* host_;
  size_t bytes_;
  size_t shift_;
  void* base_ = nullptr;
};

int64_t elements(const GroupedMatrix& m) { return m.rows * m.cols; }
int64_t parameter_bytes(const GroupedMatrix& m) {
  return elements(m) / m.group_size * bytes_of(m.scale_dtype);
}
int64_t packed_bytes(const GroupedMatrix& m) { return m.rows * numerics::packed_row_bytes(m.cols); }
int64_t mask_bytes(const GroupedMatrix& m) { return m.rows * kernels::mask_row_bytes(m.cols); }

void fake_quantize(const kernels::FakeQuantParams& host) {
  const GroupedMatrix& m = host.matrix;
  const Mirror input(host.input, m.rows * host.input_row_stride * bytes_of(m.dtype));
  const Mirror output(host.output, elements(m) * bytes_of(host.output_dtype));
  const Mirror scales(host.scales, parameter_bytes(m));
  const Mirror zeros(host.zeros, parameter_bytes(m));
  const Mirror codes(host.codes, elements(m));
  const Mirror packed_codes(host.packed_codes, packed_bytes(m));
  const Mirror in_range(host.in_range, mask_bytes(m));
  kernels::FakeQuantParams device = host;
  device.input = input.device();
  device.output = output.device();
  device.scales = scales.device();
  device.zeros = zeros.device();
  device.codes = codes.device<int8_t>();
  device.packed_codes = packed_codes.device<uint8_t>();
  device.in_range = in_range.device<uint8_t>();
  kernels::fake_quantize_cuda(device, nullptr);
  NIBBLE_CHECK_CUDA(cudaDeviceSynchronize());
  for (const Mirror* mirror : {&output, &scales, &zeros, &codes, &packed_codes, &in_range}) {
    mirror->copy_back();
  }
}

void fake_quantize_backward(const kernels::FakeQuantBackwardParams& host) {
  const GroupedMatrix& m = host.matrix;
  const kernels::GradientDTypes gradients = kernels::gradient_dtypes(host);
  const Mirror grad_output(host.grad_output, elements(m) * bytes_of(gradients.output));
  const Mirror scales(host.scales, parameter_bytes(m));
  const Mirror in_range(host.in_range, mask_bytes(m));
  const Mirror grad_input(host.grad_input, elements(m) * bytes_of(gradients.input));
  kernels::FakeQuantBackwardParams device = host;
  device.grad_output = grad_output.device();
  device.scales = scales.device();
  device.in_range = in_range.device<uint8_t>();
  device.grad_input = grad_input.device();
  kernels::fake_quantize_backward_cuda(device, nullptr);
  NIBBLE_CHECK_CUDA(cudaDeviceSynchronize());
  grad_input.copy_back();
}

void dequantize(const kernels::DequantizeParams& host) {
  const GroupedMatrix& m = host.matrix;
  const Mirror codes(host.codes, elements(m));
  const Mirror scales(host.scales, parameter_bytes(m));
  const Mirror zeros(host.zeros, parameter_bytes(m));
  const Mirror packed_codes(host.packed_codes, packed_bytes(m));
  const Mirror output(host.output, elements(m) * bytes_of(host.output_dtype.value_or(m.dtype)));
  kernels::DequantizeParams device = host;
  device.codes = codes.device<int8_t>();
  device.packed_codes = packed_codes.device<uint8_t>();
  device.scales = scales.device();
  device.zeros = zeros.device();
  device.output = output.device();
  kernels::dequantize_cuda(device, nullptr);
  NIBBLE_CHECK_CUDA(cudaDeviceSynchronize());
  output.copy_back();
}

}  // namespace

KernelSet cuda_kernels() { return {"cuda", fake_quantize, fake_quantize_backward, dequantize}; }

}  // namespace nibble::tests
