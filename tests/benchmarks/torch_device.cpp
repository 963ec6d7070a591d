#include "benchmarks/torch_device.h"

#include <nibble/core/error.h>

#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/cuda.h>

#include <filesystem>
#include <fstream>
#include <malloc.h>

#include "benchmarks/bench_support.h"

namespace nibble::benchmarks {
namespace {

constexpr c10::DeviceIndex kCudaIndex = 0;

/// A field of /proc/self/status, in bytes; 0 where there is none.
int64_t process_memory(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}

/// Sets the high water of resident memory to what is resident now.
bool reset_process_peak() {
  std::ofstream control("/proc/self/clear_refs");
  control << "5" << std::flush;  // proc(5)
  return control.good();
}

/// The GPU's name, as the driver tells it.
std::string gpu_name() {
  const std::filesystem::path folder = "/proc/driver/nvidia/gpus";
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::ifstream information(entry.path() / "information");
    for (std::string line; std::getline(information, line);) {
      const size_t start = line.find_first_not_of(" \t", line.find(':') + 1);
      if (line.starts_with("Model:") && start != std::string::npos) return line.substr(start);
    }
  }
  return "CUDA device";
}

c10::CachingDeviceAllocator::Stat allocated_on_cuda() {
  constexpr auto kAll = static_cast<size_t>(c10::CachingDeviceAllocator::StatType::AGGREGATE);
  return c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(kCudaIndex).allocated_bytes[kAll];
}

}  // namespace

void add_torch_options(CLI::App& app, TorchOptions& options) {
  app.add_option("--device", options.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", options.threads, "of the CPU, default: LibTorch's")
      ->check(CLI::PositiveNumber);
}

TorchDevice::TorchDevice(const TorchOptions& options)
    : device_(options.on_cuda() ? c10::Device(at::kCUDA, kCudaIndex) : c10::Device(at::kCPU)) {
  NIBBLE_CHECK(!options.on_cuda() || torch::cuda::is_available(),
               "--device cuda: LibTorch finds no CUDA device here");
  if (options.threads > 0) at::set_num_threads(options.threads);
}

std::string TorchDevice::description() const {
  return device_.is_cuda() ? gpu_name()
                           : detail::concat(cpu_name(), ", ", at::get_num_threads(), " threads");
}

void TorchDevice::synchronize() const {
  if (device_.is_cuda()) torch::cuda::synchronize(device_.index());
}

double TorchDevice::milliseconds(const std::function<void()>& work) const {
  return wall_milliseconds([&] {
    work();
    synchronize();
  });
}

std::optional<MemoryUse> TorchDevice::memory_use(const std::function<void()>& work) const {
  MemoryUse use;
  if (device_.is_cuda()) {
    c10::getDeviceAllocator(at::kCUDA)->resetPeakStats(kCudaIndex);
    use.before = allocated_on_cuda().current;
    work();
    synchronize();
    use.peak = allocated_on_cuda().peak;
    return use;
  }
  malloc_trim(0);  // freed memory that malloc keeps would hide what `work` needs
  if (!reset_process_peak()) return std::nullopt;
  use.before = process_memory("VmRSS");
  work();
  use.peak = process_memory("VmHWM");
  return use;
}

at::ScalarType scalar_type_of(const std::string& dtype) {
  return dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

nn::QuantizationSpec benchmark_spec(const std::string& scheme, int64_t group_size) {
  nn::QuantizationSpec spec;
  spec.scheme = nn::scheme_from_string(scheme);
  spec.group_size = group_size;
  spec.scale_dtype = at::kBFloat16;
  spec.grid =
      spec.scheme == nn::Scheme::k4w ? nn::WeightGrid::kAsymmetric : nn::WeightGrid::kSymmetric;
  return spec;
}

}  // namespace nibble::benchmarks
