#include "gpu/bench.h"

#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/kernels/fake_quant_cuda.h>
#include <nibble/numerics/float_types.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>

#include "gpu/cuda_error.h"

namespace nibble::tests {
namespace {

using kernels::DType;
using kernels::GridKind;
using kernels::GroupedMatrix;

constexpr int kSamples = 15;
/// Buffers rotate over at least this much memory, several times the L2 cache.
constexpr int64_t kRotatedBytes = int64_t{1} << 30;
constexpr double kWeightTarget = 85.0;
constexpr double kActivationTarget = 80.0;

int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

const char* name_of(DType dtype) {
  return dtype == DType::kFloat32 ? "fp32" : dtype == DType::kBFloat16 ? "bf16" : "fp16";
}

class DeviceBuffer {
 public:
  explicit DeviceBuffer(int64_t bytes) {
    NIBBLE_CHECK_CUDA(cudaMalloc(&data_, static_cast<size_t>(bytes)));
    NIBBLE_CHECK_CUDA(cudaMemset(data_, 0, static_cast<size_t>(bytes)));
  }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

class Event {
 public:
  Event() { NIBBLE_CHECK_CUDA(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record() { NIBBLE_CHECK_CUDA(cudaEventRecord(event_)); }
  float milliseconds_since(const Event& start) const {
    float result = 0;
    NIBBLE_CHECK_CUDA(cudaEventSynchronize(event_));
    NIBBLE_CHECK_CUDA(cudaEventElapsedTime(&result, start.event_, event_));
    return result;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Median milliseconds of one launch; launch(i) uses buffer set i of `sets`.
double median_milliseconds(int sets, const std::function<void(int)>& launch) {
  const int repeats = std::max(1, 8 / sets);
  for (int i = 0; i < sets; ++i) launch(i);
  std::vector<double> samples;
  Event start, stop;
  for (int sample = 0; sample < kSamples; ++sample) {
    start.record();
    for (int r = 0; r < repeats; ++r) {
      for (int i = 0; i < sets; ++i) launch(i);
    }
    stop.record();
    samples.push_back(stop.milliseconds_since(start) / (sets * repeats));
  }
  std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
  return samples[kSamples / 2];
}

double measure_copy_rate() {
  constexpr size_t kBytes = size_t{1} << 30;
  const DeviceBuffer a(kBytes), b(kBytes);
  const double milliseconds = median_milliseconds(2, [&](int i) {
    NIBBLE_CHECK_CUDA(cudaMemcpyAsync((i ? a : b).data(), (i ? b : a).data(), kBytes,
                                      cudaMemcpyDeviceToDevice, nullptr));
  });
  return 2.0 * static_cast<double>(kBytes) / (milliseconds * 1e-3);
}

/// N(0, 1) values: quantization must not meet a matrix of zeros, whose bits cost no power.
std::vector<char> normal_values(DType dtype) {
  constexpr int64_t kCount = 1 << 20;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<char> result(kCount * bytes_of(dtype));
  for (int64_t i = 0; i < kCount; ++i) {
    const float value = normal(random);
    if (dtype == DType::kFloat32) {
      reinterpret_cast<float*>(result.data())[i] = value;
    } else if (dtype == DType::kBFloat16) {
      reinterpret_cast<numerics::BFloat16*>(result.data())[i] = numerics::BFloat16(value);
    } else {
      reinterpret_cast<numerics::Float16*>(result.data())[i] = numerics::Float16(value);
    }
  }
  return result;
}

/// `values` over and over, up to `bytes`.
void fill(void* device, int64_t bytes, const std::vector<char>& values) {
  char* data = static_cast<char*>(device);
  auto filled = std::min<int64_t>(bytes, static_cast<int64_t>(values.size()));
  NIBBLE_CHECK_CUDA(cudaMemcpy(data, values.data(), filled, cudaMemcpyHostToDevice));
  while (filled < bytes) {
    const int64_t more = std::min(filled, bytes - filled);
    NIBBLE_CHECK_CUDA(cudaMemcpy(data + filled, data, more, cudaMemcpyDeviceToDevice));
    filled += more;
  }
}

/// Everything one forward and one backward touch.
struct BufferSet {
  BufferSet(const GroupedMatrix& m, DType output_dtype, const std::vector<char>& values)
      : input(m.rows * m.cols * bytes_of(m.dtype)),
        output(m.rows * m.cols * std::max(bytes_of(m.dtype), bytes_of(output_dtype))),
        scales(m.rows * (m.cols / m.group_size) * bytes_of(m.scale_dtype)),
        zeros(m.rows * (m.cols / m.group_size) * bytes_of(m.scale_dtype)),
        in_range(m.rows * kernels::mask_row_bytes(m.cols)) {
    fill(input.data(), m.rows * m.cols * bytes_of(m.dtype), values);
  }
  DeviceBuffer input, output, scales, zeros, in_range;
};

class Bench {
 public:
  explicit Bench(double copy_rate) : copy_rate_(copy_rate) {}

  void run(const std::string& name, const GroupedMatrix& m, DType output_dtype, double target) {
    const auto values = normal_values(m.dtype);
    const double elements = static_cast<double>(m.rows * m.cols);
    const double mask = elements / 8;
    const double parameters =
        elements / static_cast<double>(m.group_size) * static_cast<double>(bytes_of(m.scale_dtype));
    const double zeros = m.grid == GridKind::kSymmetricInt4 ? 0 : parameters;
    const double forward_bytes =
        elements * static_cast<double>(bytes_of(m.dtype) + bytes_of(output_dtype)) + mask +
        parameters + zeros;

    std::vector<std::unique_ptr<BufferSet>> sets;
    const auto count = std::max<int64_t>(2, kRotatedBytes / static_cast<int64_t>(forward_bytes));
    for (int64_t i = 0; i < count; ++i) {
      sets.push_back(std::make_unique<BufferSet>(m, output_dtype, values));
    }
    add(name + " forward", m, m.dtype, output_dtype, forward_bytes, target, static_cast<int>(count),
        [&](int i) { forward(m, output_dtype, *sets[i]); });
    const auto run_backward = [&](DType grad_output, DType grad_input) {
      const double bytes =
          elements * static_cast<double>(bytes_of(grad_output) + bytes_of(grad_input)) + mask +
          parameters;
      add(name + " backward", m, grad_output, grad_input, bytes, target, static_cast<int>(count),
          [&](int i) { backward(m, grad_output, grad_input, *sets[i]); });
    };
    run_backward(m.dtype, m.dtype);
    if (m.dtype != output_dtype) {  // a master weight: the gradient comes in the narrow dtype
      run_backward(output_dtype, m.dtype);
      run_backward(output_dtype, output_dtype);
    }
  }

  std::vector<BenchRow> rows;

 private:
  static void forward(const GroupedMatrix& m, DType output_dtype, const BufferSet& set) {
    kernels::FakeQuantParams p;
    p.matrix = m;
    p.input = set.input.data();
    p.input_row_stride = m.cols;
    p.output_dtype = output_dtype;
    p.output = set.output.data();
    p.scales = set.scales.data();
    p.zeros = m.grid == GridKind::kSymmetricInt4 ? nullptr : set.zeros.data();
    p.in_range = static_cast<uint8_t*>(set.in_range.data());
    kernels::fake_quantize_cuda(p, nullptr);
  }
  static void backward(const GroupedMatrix& m, DType grad_output, DType grad_input,
                       const BufferSet& set) {
    kernels::fake_quantize_backward_cuda(
        {m, set.input.data(), set.scales.data(), static_cast<const uint8_t*>(set.in_range.data()),
         set.output.data(), grad_output, grad_input},
        nullptr);
  }

  void add(const std::string& name, const GroupedMatrix& m, DType from, DType to, double bytes,
           double target, int sets, const std::function<void(int)>& launch) {
    const double milliseconds = median_milliseconds(sets, launch);
    std::string dtype = name_of(from);
    if (from != to) dtype += std::string("->") + name_of(to);
    rows.push_back({name + " s" + name_of(m.scale_dtype),
                    detail::concat(m.rows, "x", m.cols, " g", m.group_size), dtype, milliseconds,
                    bytes, copy_rate_, target});
  }

  double copy_rate_;
};

}  // namespace

std::vector<BenchRow> run_benchmarks() {
  Bench bench(measure_copy_rate());
  for (const int64_t group : {32, 64, 128, 256}) {
    const GroupedMatrix symmetric{
        GridKind::kSymmetricInt4, DType::kBFloat16, DType::kBFloat16, 8192, 8192, group};
    bench.run("weight 8da4w", symmetric, DType::kBFloat16, kWeightTarget);
    GroupedMatrix float_scales = symmetric;
    float_scales.scale_dtype = DType::kFloat32;
    bench.run("weight 8da4w", float_scales, DType::kBFloat16, kWeightTarget);
    GroupedMatrix affine = symmetric;
    affine.grid = GridKind::kAffineInt4;
    bench.run("weight 4w", affine, DType::kBFloat16, kWeightTarget);
    GroupedMatrix master = symmetric;
    master.dtype = DType::kFloat32;
    bench.run("weight 8da4w", master, DType::kBFloat16, kWeightTarget);
  }
  for (const int64_t cols : {2048, 4096, 8192, 14336}) {
    for (const DType dtype : {DType::kBFloat16, DType::kFloat32}) {
      bench.run("activation 8da4w",
                {GridKind::kAsymmetricInt8, dtype, DType::kFloat32, 16384, cols, cols}, dtype,
                kActivationTarget);
    }
  }
  return bench.rows;
}

void print_table(const std::vector<BenchRow>& rows) {
  std::printf("%-32s %-18s %-10s %9s %8s %7s %7s\n", "kernel", "shape", "dtype", "ms", "TB/s",
              "% copy", "target");
  for (const BenchRow& row : rows) {
    std::printf("%-32s %-18s %-10s %9.4f %8.3f %6.1f%% %6.0f%%%s\n", row.name.c_str(),
                row.shape.c_str(), row.dtype.c_str(), row.milliseconds,
                row.bytes / row.milliseconds * 1e-9, row.percent(), row.target_percent,
                row.percent() < row.target_percent ? "  below" : "");
  }
  if (!rows.empty()) std::printf("copy rate of this run: %.3f TB/s\n", rows[0].copy_rate * 1e-12);
}

void write_json(const std::string& path, const std::vector<BenchRow>& rows) {
  cudaDeviceProp device;
  NIBBLE_CHECK_CUDA(cudaGetDeviceProperties(&device, 0));
  nlohmann::json json = {{"device", device.name}, {"rows", nlohmann::json::array()}};
  for (const BenchRow& row : rows) {
    json["rows"].push_back({{"name", row.name},
                            {"shape", row.shape},
                            {"dtype", row.dtype},
                            {"median_ms", row.milliseconds},
                            {"bytes", row.bytes},
                            {"copy_bytes_per_second", row.copy_rate}});
  }
  io::write_file_atomically(path, json.dump(1) + "\n");
}

}  // namespace nibble::tests
