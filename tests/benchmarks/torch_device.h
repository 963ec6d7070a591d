#pragma once

#include <nibble/nn/quantization_spec.h>

#include <c10/core/Device.h>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

/// What the benchmarks with LibTorch share: where they run, time and memory there.
namespace nibble::benchmarks {

/// --device and --threads.
struct TorchOptions {
  std::string device = "cpu";
  int threads = 0;  ///< 0: LibTorch's default

  bool on_cuda() const { return device == "cuda"; }
};

void add_torch_options(CLI::App& app, TorchOptions& options);

/// High water of the memory in use while something ran, and what was in use just before: resident
/// memory of the process on the CPU, bytes allocated by LibTorch on CUDA.
struct MemoryUse {
  int64_t before = 0;
  int64_t peak = 0;
};

class TorchDevice {
 public:
  /// Sets the threads. Throws Error where there is no such device.
  explicit TorchDevice(const TorchOptions& options);

  c10::Device device() const { return device_; }
  std::string description() const;

  void synchronize() const;
  /// Milliseconds until everything that `work` queued is done. Nothing may be queued before.
  double milliseconds(const std::function<void()>& work) const;
  /// Empty where the system does not let a process reset its high water.
  std::optional<MemoryUse> memory_use(const std::function<void()>& work) const;

 private:
  c10::Device device_;
};

/// What --dtype takes.
inline const std::vector<std::string> kDTypeNames = {"float32", "bfloat16"};
at::ScalarType scalar_type_of(const std::string& dtype);

/// The spec of a scheme name: 8da4w on the symmetric grid, 4w on TorchAO's asymmetric one, bfloat16
/// scales in both.
nn::QuantizationSpec benchmark_spec(const std::string& scheme, int64_t group_size);

}  // namespace nibble::benchmarks
