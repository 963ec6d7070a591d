#include <nibble/core/error.h>
#include <nibble/kernels/fake_quant.h>
#include <nibble/numerics/float_types.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "benchmarks/bench_support.h"
#include "benchmarks/kernel_device.h"
#include "run_main.h"

// Times the fake-quantization kernels of one device, without LibTorch, against the rate of a copy
// on that device in the same run.
namespace nibble::benchmarks {
namespace {

using kernels::DType;
using kernels::GridKind;
using kernels::GroupedMatrix;

constexpr int kLaunchesPerSample = 8;
/// Of the copy rate, on CUDA: what docs/benchmarks.md calls the target.
constexpr double kCudaWeightTarget = 0.85;
constexpr double kCudaActivationTarget = 0.80;

struct Arguments {
  std::string device = "cpu";
  std::string json;
  int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int samples = 15;
  /// Buffers rotate over at least this much memory, several times the last-level cache.
  int64_t rotate_mib = 1024;
  int64_t copy_mib = 1024;
  std::vector<std::string> weights, activations;  ///< shapes; empty: the device's defaults
  std::vector<int64_t> group_sizes = {32, 128, 256};
};

bool on_cuda(const Arguments& arguments) { return arguments.device == "cuda"; }

/// The weights of the Linears of SmolLM2-135M (CPU) and Llama-3.2-1B (CUDA), a larger matrix each,
/// and batches of activations.
void fill_defaults(Arguments& arguments) {
  const bool cuda = on_cuda(arguments);
  if (arguments.weights.empty()) {
    arguments.weights = cuda ? std::vector<std::string>{"8192x2048", "8192x8192"}
                             : std::vector<std::string>{"1536x576", "576x1536", "2048x1024"};
  }
  if (arguments.activations.empty()) {
    arguments.activations = cuda ? std::vector<std::string>{"16384x2048", "16384x8192"}
                                 : std::vector<std::string>{"256x576", "256x1536", "1024x2048"};
  }
}

int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

std::string name_of(DType dtype) { return dtype == DType::kFloat32 ? "float32" : "bfloat16"; }

/// A matrix and what is done with it.
struct Case {
  std::string name;  ///< "weight 8da4w"
  GroupedMatrix matrix;
  DType output_dtype = DType::kFloat32;

  int64_t elements() const { return matrix.rows * matrix.cols; }
  int64_t mask_bytes() const { return matrix.rows * kernels::mask_row_bytes(matrix.cols); }
  int64_t scale_bytes() const {
    return elements() / matrix.group_size * bytes_of(matrix.scale_dtype);
  }
  bool has_zeros() const { return matrix.grid != GridKind::kSymmetricInt4; }

  // All read + all written.
  int64_t forward_bytes() const {
    return elements() * (bytes_of(matrix.dtype) + bytes_of(output_dtype)) + mask_bytes() +
           scale_bytes() * (has_zeros() ? 2 : 1);
  }
  int64_t backward_bytes(DType grad_output, DType grad_input) const {
    return elements() * (bytes_of(grad_output) + bytes_of(grad_input)) + mask_bytes() +
           scale_bytes();
  }
};

GroupedMatrix matrix_of(const std::string& shape_text) {
  const std::vector<int64_t> shape = parse_shape(shape_text);
  NIBBLE_CHECK(shape.size() == 2, "a matrix has two sizes, such as 1024x2048; got ", shape_text);
  GroupedMatrix matrix;
  matrix.rows = shape[0];
  matrix.cols = shape[1];
  return matrix;
}

void add_weight_cases(const Arguments& arguments, std::vector<Case>& cases) {
  constexpr std::pair<DType, DType> kDTypes[] = {{DType::kFloat32, DType::kFloat32},
                                                 {DType::kBFloat16, DType::kBFloat16},
                                                 {DType::kFloat32, DType::kBFloat16}};
  for (const std::string& shape : arguments.weights) {
    for (const int64_t group_size : arguments.group_sizes) {
      GroupedMatrix matrix = matrix_of(shape);
      if (matrix.cols % group_size != 0) continue;
      matrix.group_size = group_size;
      matrix.scale_dtype = DType::kBFloat16;
      for (const auto& [dtype, output_dtype] : kDTypes) {
        matrix.dtype = dtype;
        matrix.grid = GridKind::kSymmetricInt4;
        cases.push_back({"weight 8da4w", matrix, output_dtype});
        if (dtype == DType::kBFloat16) {  // what TorchAO's quantizer defaults to
          GroupedMatrix float_scales = matrix;
          float_scales.scale_dtype = DType::kFloat32;
          cases.push_back({"weight 8da4w float scales", float_scales, output_dtype});
        }
        matrix.grid = GridKind::kAffineInt4;
        cases.push_back({"weight 4w", matrix, output_dtype});
      }
    }
  }
}

void add_activation_cases(const Arguments& arguments, std::vector<Case>& cases) {
  for (const std::string& shape : arguments.activations) {
    GroupedMatrix matrix = matrix_of(shape);
    matrix.grid = GridKind::kAsymmetricInt8;
    matrix.group_size = matrix.cols;
    matrix.scale_dtype = DType::kFloat32;
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      matrix.dtype = dtype;
      cases.push_back({"activation 8da4w", matrix, dtype});
    }
  }
}

/// N(0, 1) values: quantization must not meet a matrix of zeros, whose bits cost no power.
std::vector<char> normal_values(DType dtype, int64_t count) {
  constexpr int64_t kPeriod = 1 << 20;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(std::min(count, kPeriod)));
  for (float& value : values) value = normal(random);
  std::vector<char> result(static_cast<size_t>(count * bytes_of(dtype)));
  for (int64_t i = 0; i < count; ++i) {
    const float value = values[static_cast<size_t>(i % kPeriod)];
    if (dtype == DType::kFloat32) {
      reinterpret_cast<float*>(result.data())[i] = value;
    } else {
      reinterpret_cast<numerics::BFloat16*>(result.data())[i] = numerics::BFloat16(value);
    }
  }
  return result;
}

/// Everything one forward and one backward touch.
struct BufferSet {
  BufferSet(KernelDevice& device, const Case& c, const std::vector<char>& values)
      : input(device.allocate(static_cast<int64_t>(values.size()))),
        output(device.allocate(c.elements() *
                               std::max(bytes_of(c.matrix.dtype), bytes_of(c.output_dtype)))),
        scales(device.allocate(c.scale_bytes())),
        zeros(device.allocate(c.scale_bytes())),
        in_range(device.allocate(c.mask_bytes())) {
    device.upload(input.get(), values.data(), static_cast<int64_t>(values.size()));
  }
  std::shared_ptr<void> input, output, scales, zeros, in_range;
};

void forward(KernelDevice& device, const Case& c, const BufferSet& set) {
  kernels::FakeQuantParams params;
  params.matrix = c.matrix;
  params.input = set.input.get();
  params.input_row_stride = c.matrix.cols;
  params.output_dtype = c.output_dtype;
  params.output = set.output.get();
  params.scales = set.scales.get();
  params.zeros = c.has_zeros() ? set.zeros.get() : nullptr;
  params.in_range = static_cast<uint8_t*>(set.in_range.get());
  device.fake_quantize(params);
}

void backward(KernelDevice& device, const Case& c, DType grad_output, DType grad_input,
              const BufferSet& set) {
  kernels::FakeQuantBackwardParams params;
  params.matrix = c.matrix;
  params.grad_output = set.input.get();
  params.scales = set.scales.get();
  params.in_range = static_cast<const uint8_t*>(set.in_range.get());
  params.grad_input = set.output.get();
  params.grad_output_dtype = grad_output;
  params.grad_input_dtype = grad_input;
  device.fake_quantize_backward(params);
}

class Bench {
 public:
  Bench(KernelDevice& device, const Arguments& arguments)
      : device_(device), arguments_(arguments), copy_rate_(measure_copy_rate()) {}

  /// `target`: the share of the copy rate to reach; 0 for none.
  void run(const Case& c, double target) {
    const std::vector<char> values = normal_values(c.matrix.dtype, c.elements());
    const auto count = std::max<int64_t>(2, (arguments_.rotate_mib << 20) / c.forward_bytes());
    std::vector<BufferSet> sets;
    for (int64_t i = 0; i < count; ++i) sets.emplace_back(device_, c, values);
    const auto size = static_cast<int>(count);
    add(c, " forward", c.matrix.dtype, c.output_dtype, c.forward_bytes(), target,
        median_milliseconds(size, [&](int i) { forward(device_, c, sets[i]); }));
    // Uses the scales and the bits that the forward left in every set. Under a master weight the
    // gradient comes in the narrow dtype.
    const DType grad_output = c.output_dtype, grad_input = c.matrix.dtype;
    add(c, " backward", grad_output, grad_input, c.backward_bytes(grad_output, grad_input), target,
        median_milliseconds(
            size, [&](int i) { backward(device_, c, grad_output, grad_input, sets[i]); }));
  }

  const std::vector<Row>& rows() const { return rows_; }
  double copy_rate() const { return copy_rate_; }

 private:
  /// Of one launch; launch(i) uses buffer set i of `sets`. Each launch meets the set that was used
  /// longest ago.
  double median_milliseconds(int sets, const std::function<void(int)>& launch) const {
    for (int i = 0; i < sets; ++i) launch(i);
    int next = 0;
    std::vector<double> samples;
    for (int sample = 0; sample < arguments_.samples; ++sample) {
      samples.push_back(device_.milliseconds([&] {
        for (int i = 0; i < kLaunchesPerSample; ++i) launch(next++ % sets);
      }) / kLaunchesPerSample);
    }
    return median(std::move(samples));
  }

  /// Bytes a second, read + written.
  double measure_copy_rate() const {
    const int64_t bytes = arguments_.copy_mib << 20;
    const auto a = device_.allocate(bytes), b = device_.allocate(bytes);
    const double milliseconds = median_milliseconds(
        2, [&](int i) { device_.copy((i == 0 ? a : b).get(), (i == 0 ? b : a).get(), bytes); });
    return 2.0 * static_cast<double>(bytes) / (milliseconds * 1e-3);
  }

  void add(const Case& c, const std::string& direction, DType from, DType to, int64_t bytes,
           double target, double milliseconds) {
    Row row;
    row.name = c.name + direction;
    row.shape = detail::concat(c.matrix.rows, "x", c.matrix.cols);
    row.group_size = c.matrix.group_size;
    row.dtype = name_of(from);
    if (from != to) row.dtype += "->" + name_of(to);
    row.median_ms = milliseconds;
    row.samples = arguments_.samples;
    const double rate = static_cast<double>(bytes) / (milliseconds * 1e-3);
    row.details = {{"bytes", bytes},
                   {"bytes_per_second", rate},
                   {"copy_rate", copy_rate_},
                   {"fraction_of_copy_rate", rate / copy_rate_}};
    if (target > 0) row.details["target_fraction"] = target;
    std::printf("%-34s %-12s g%-5lld %-18s %9.4f %8.1f %6.1f%%%s\n", row.name.c_str(),
                row.shape.c_str(), static_cast<long long>(row.group_size), row.dtype.c_str(),
                milliseconds, rate * 1e-9, 100 * rate / copy_rate_,
                rate / copy_rate_ < target ? "  below target" : "");
    std::fflush(stdout);
    rows_.push_back(std::move(row));
  }

  KernelDevice& device_;
  const Arguments& arguments_;
  double copy_rate_;
  std::vector<Row> rows_;
};

int bench_fake_quant(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Times the fake-quantization kernels against a copy of memory in the same run."};
  app.add_option("--device", arguments.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--json", arguments.json, "report")->required();
  app.add_option("--threads", arguments.threads, "on the CPU, default: the cores")
      ->check(CLI::PositiveNumber);
  app.add_option("--samples", arguments.samples, "medians are over so many")
      ->check(CLI::PositiveNumber);
  app.add_option("--weight", arguments.weights, "OUTxIN, may be repeated");
  app.add_option("--activation", arguments.activations, "TOKENSxFEATURES, may be repeated");
  app.add_option("--group-size", arguments.group_sizes,
                 "of weights, may be repeated; one that does not divide IN is left out")
      ->check(CLI::PositiveNumber);
  app.add_option("--rotate-mib", arguments.rotate_mib, "memory that the buffers rotate over")
      ->check(CLI::PositiveNumber);
  app.add_option("--copy-mib", arguments.copy_mib, "size of the copied buffer")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  fill_defaults(arguments);

  std::vector<Case> cases;
  add_weight_cases(arguments, cases);
  add_activation_cases(arguments, cases);
  const auto device = on_cuda(arguments) ? cuda_device() : cpu_device(arguments.threads);
  Bench bench(*device, arguments);
  std::printf("%s: copies %.1f GB/s (read + written)\n", device->description().c_str(),
              bench.copy_rate() * 1e-9);
  std::printf("%-34s %-12s %-6s %-18s %9s %8s %7s\n", "kernel", "shape", "group", "dtype", "ms",
              "GB/s", "of copy");
  for (const Case& c : cases) {
    const bool activation = c.matrix.grid == GridKind::kAsymmetricInt8;
    bench.run(c, !on_cuda(arguments) ? 0 : activation ? kCudaActivationTarget : kCudaWeightTarget);
  }
  write_report(arguments.json, "bench_fake_quant",
               {{"device", arguments.device},
                {"machine", device->description()},
                {"rotated_bytes", arguments.rotate_mib << 20}},
               bench.rows());
  return 0;
}

}  // namespace
}  // namespace nibble::benchmarks

int main(int argc, char** argv) {
  return nibble::apps::run_main(nibble::benchmarks::bench_fake_quant, argc, argv);
}
