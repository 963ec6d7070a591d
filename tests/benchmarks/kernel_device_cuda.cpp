#include <nibble/core/error.h>
#include <nibble/kernels/fake_quant_cuda.h>

#include <cuda_runtime.h>

#include "benchmarks/kernel_device.h"
#include "gpu/cuda_error.h"

namespace nibble::benchmarks {
namespace {

class Event {
 public:
  Event() { NIBBLE_CHECK_CUDA(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record() { NIBBLE_CHECK_CUDA(cudaEventRecord(event_)); }
  double milliseconds_since(const Event& start) const {
    float result = 0;
    NIBBLE_CHECK_CUDA(cudaEventSynchronize(event_));
    NIBBLE_CHECK_CUDA(cudaEventElapsedTime(&result, start.event_, event_));
    return result;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaDevice : public KernelDevice {
 public:
  std::string description() const override {
    int device = 0;
    cudaDeviceProp properties;
    NIBBLE_CHECK_CUDA(cudaGetDevice(&device));
    NIBBLE_CHECK_CUDA(cudaGetDeviceProperties(&properties, device));
    return properties.name;
  }

  std::shared_ptr<void> allocate(int64_t bytes) override {
    void* data = nullptr;
    NIBBLE_CHECK_CUDA(cudaMalloc(&data, static_cast<size_t>(bytes)));
    std::shared_ptr<void> buffer(data, cudaFree);
    NIBBLE_CHECK_CUDA(cudaMemset(data, 0, static_cast<size_t>(bytes)));
    return buffer;
  }
  void upload(void* target, const void* host, int64_t bytes) override {
    NIBBLE_CHECK_CUDA(cudaMemcpy(target, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice));
  }

  void copy(void* target, const void* source, int64_t bytes) override {
    NIBBLE_CHECK_CUDA(cudaMemcpyAsync(target, source, static_cast<size_t>(bytes),
                                      cudaMemcpyDeviceToDevice, nullptr));
  }
  void fake_quantize(const kernels::FakeQuantParams& params) override {
    kernels::fake_quantize_cuda(params, nullptr);
  }
  void fake_quantize_backward(const kernels::FakeQuantBackwardParams& params) override {
    kernels::fake_quantize_backward_cuda(params, nullptr);
  }

  double milliseconds(const std::function<void()>& work) override {
    start_.record();
    work();
    stop_.record();
    return stop_.milliseconds_since(start_);
  }

 private:
  Event start_, stop_;
};

}  // namespace

std::unique_ptr<KernelDevice> cuda_device() { return std::make_unique<CudaDevice>(); }

}  // namespace nibble::benchmarks
