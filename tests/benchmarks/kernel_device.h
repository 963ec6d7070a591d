#pragma once

#include <nibble/kernels/fake_quant.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace nibble::benchmarks {

/// Where kernels are timed: its memory, its launches, its clock.
class KernelDevice {
 public:
  virtual ~KernelDevice() = default;
  virtual std::string description() const = 0;

  /// Zeroed memory.
  virtual std::shared_ptr<void> allocate(int64_t bytes) = 0;
  virtual void upload(void* target, const void* host, int64_t bytes) = 0;

  // These may return before the work is done.
  virtual void copy(void* target, const void* source, int64_t bytes) = 0;
  virtual void fake_quantize(const kernels::FakeQuantParams& params) = 0;
  virtual void fake_quantize_backward(const kernels::FakeQuantBackwardParams& params) = 0;

  /// Milliseconds from the start of `work` to the end of all that it queued.
  virtual double milliseconds(const std::function<void()>& work) = 0;
};

/// The CPU kernels with the best instruction set, rows shared out evenly to `threads` threads.
std::unique_ptr<KernelDevice> cpu_device(int threads);
/// The CUDA kernels on the current device. Throws Error in a build without CUDA.
std::unique_ptr<KernelDevice> cuda_device();

}  // namespace nibble::benchmarks
