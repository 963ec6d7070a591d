#include <nibble/core/error.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "golden/golden_check.h"
#include "gpu/cuda_error.h"
#include "gpu/cuda_kernels.h"
#include "gpu/quantized_linear_check.h"
#include "support/kernel_comparison.h"

// The CUDA kernels on a real device, bit for bit (README.md).
namespace nibble::tests {
namespace {

struct Options {
  std::string golden = "tests/golden";
  bool check_small_only = false;  ///< for a memory checker, under which everything is slow
  bool linears_only = false;      ///< no fake quantization
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--small") {
      options.check_small_only = true;
    } else if (argument == "--linears") {
      options.linears_only = true;
    } else if (argument == "--golden" && i + 1 < argc) {
      options.golden = argv[++i];
    } else {
      fail("usage: ", argv[0], " [--golden FOLDER] [--small] [--linears], got '", argument, "'");
    }
  }
  return options;
}

/// Prints and counts.
size_t report(const std::vector<std::string>& failures) {
  constexpr size_t kShown = 20;
  for (size_t i = 0; i < failures.size() && i < kShown; ++i) {
    std::printf("FAIL %s\n", failures[i].c_str());
  }
  if (failures.size() > kShown) std::printf("... %zu more\n", failures.size() - kShown);
  return failures.size();
}

size_t check_golden_vectors(const Options& options) {
  const GoldenResult result = check_golden(options.golden, cuda_kernels());
  std::printf("golden: %lld files, %lld values, %zu failures\n",
              static_cast<long long>(result.files), static_cast<long long>(result.values),
              result.failures.size());
  return report(result.failures);
}

/// Shapes that only a GPU needs: every way to share a group between threads, and long rows.
std::vector<ComparisonShape> gpu_shapes() {
  return {{37, 1024, 8},      {9, 1024, 1024}, {3, 16384, 16384, 64}, {2, 40000, 40000},
          {300, 256, 32, 32}, {65, 3072, 96},  {33, 2304, 2304, 8},   {5, 33000, 8},
          {2, 9216, 4608},    {1030, 64, 64},  {3, 100003, 100003}};
}

size_t compare_with_cpu(const Options& options) {
  std::vector<ComparisonShape> shapes = comparison_shapes();
  std::vector<Values> kinds = {Values::kSpecial};
  if (!options.check_small_only) {
    kinds = {Values::kNormal, Values::kRawBits, Values::kHalves, Values::kSpecial, Values::kTiny};
    for (const ComparisonShape& shape : gpu_shapes()) shapes.push_back(shape);
  }
  const KernelSet cpu = cpu_kernels(kernels::best_cpu_isa());
  size_t failures = 0;
  int64_t values = 0;
  uint64_t seed = 100;
  for (const ComparisonShape& shape : shapes) {
    if (options.check_small_only && shape.cols > 1000) continue;
    for (const Values kind : kinds) {
      const ComparisonResult result = compare_kernels(cpu, cuda_kernels(), shape, kind, ++seed);
      values += result.values;
      failures += report(result.failures);
    }
  }
  std::printf("cuda against cpu (%s): %zu shapes, %lld values, %zu failures\n", cpu.name.c_str(),
              shapes.size(), static_cast<long long>(values), failures);
  return failures;
}

size_t check_linears(const Options& options) {
  const QuantizedLinearResult result = check_quantized_linear(options.check_small_only);
  std::printf("quantized linears: %lld outputs, %zu failures\n",
              static_cast<long long>(result.outputs), result.failures.size());
  return report(result.failures);
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  cudaDeviceProp device;
  NIBBLE_CHECK_CUDA(cudaGetDeviceProperties(&device, 0));
  std::printf("device: %s, sm_%d%d\n", device.name, device.major, device.minor);
  size_t failures = 0;
  if (!options.linears_only) {
    failures = check_golden_vectors(options) + compare_with_cpu(options);
    std::printf("%s\n", failures == 0 ? "ALL BITS EQUAL" : "BITS DIFFER");
  }
  failures += check_linears(options);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace nibble::tests

int main(int argc, char** argv) {
  try {
    return nibble::tests::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nibble_gpu_check: %s\n", error.what());
    return 2;
  }
}
