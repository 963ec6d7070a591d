#include <nibble/core/error.h>
#include <nibble/nn/fake_quant_linear.h>

#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>
#include <vector>

#include "benchmarks/bench_support.h"
#include "benchmarks/torch_device.h"
#include "run_main.h"

// Times forward + backward of FakeQuantLinear in turns with a plain torch::nn::Linear.
namespace nibble::benchmarks {
namespace {

struct Arguments {
  TorchOptions torch;
  std::vector<std::string> dtypes;  ///< empty: the device's defaults, as everything below
  std::vector<std::string> shapes;
  int64_t tokens = 0;
  int64_t group_size = 0;
  int samples = 15;
  int warmup = 3;
  int repeats = 0;
  std::string json;
};

/// The Linears of SmolLM2-135M on the CPU, of Llama-3.2-1B on CUDA.
void fill_defaults(Arguments& arguments) {
  const bool cuda = arguments.torch.on_cuda();
  if (arguments.dtypes.empty()) {
    arguments.dtypes = cuda ? std::vector<std::string>{"bfloat16"}
                            : std::vector<std::string>{"float32", "bfloat16"};
  }
  if (arguments.shapes.empty()) {
    arguments.shapes = cuda ? std::vector<std::string>{"8192x2048", "2048x8192"}
                            : std::vector<std::string>{"576x576", "1536x576", "576x1536"};
  }
  if (arguments.tokens == 0) arguments.tokens = cuda ? 16384 : 256;
  if (arguments.group_size == 0) arguments.group_size = cuda ? 256 : 32;
  if (arguments.repeats == 0) arguments.repeats = cuda ? 5 : 3;
}

/// One forward and backward, as inside a network: gradients for input and weight. What spans the
/// micro-batches of an optimizer step is not in it: weights are quantized in every forward.
template <class Linear>
void forward_backward(Linear& linear, torch::Tensor& input, const torch::Tensor& grad_output) {
  input.mutable_grad() = torch::Tensor();
  linear->weight.mutable_grad() = torch::Tensor();
  linear->forward(input).backward(grad_output);
}

class LinearBench {
 public:
  LinearBench(const Arguments& arguments, const TorchDevice& device)
      : arguments_(arguments), device_(device) {}

  void run(const std::string& shape_text, at::ScalarType dtype, const std::string& dtype_name) {
    const std::vector<int64_t> shape = parse_shape(shape_text);
    NIBBLE_CHECK(shape.size() == 2, "a Linear's shape is OUTxIN, got ", shape_text);
    const auto options =
        torch::nn::LinearOptions(/*in_features=*/shape[1], /*out_features=*/shape[0]).bias(false);
    torch::nn::Linear plain(options);
    nn::FakeQuantLinear int8_int4(options, benchmark_spec("8da4w", arguments_.group_size));
    nn::FakeQuantLinear int4(options, benchmark_spec("4w", arguments_.group_size));
    plain->to(device_.device(), dtype);
    int8_int4->to(device_.device(), dtype);
    int4->to(device_.device(), dtype);

    const auto tensor_options = torch::TensorOptions(device_.device()).dtype(dtype);
    torch::Tensor input =
        torch::randn({arguments_.tokens, shape[1]}, tensor_options).set_requires_grad(true);
    const torch::Tensor grad_output = torch::randn({arguments_.tokens, shape[0]}, tensor_options);
    const auto timed = [&](auto& linear) {
      return [&] {
        return device_.milliseconds([&] {
          for (int i = 0; i < arguments_.repeats; ++i) {
            forward_backward(linear, input, grad_output);
          }
        }) / arguments_.repeats;
      };
    };
    const auto samples = interleave({timed(plain), timed(int8_int4), timed(int4)},
                                    arguments_.warmup, arguments_.samples);

    const char* const names[] = {"linear none", "linear 8da4w", "linear 4w"};
    const size_t baseline = rows_.size();
    for (size_t i = 0; i < samples.size(); ++i) {
      Row row;
      row.name = names[i];
      row.shape = detail::concat(arguments_.tokens, "x", shape[1], "x", shape[0]);
      row.group_size = i == 0 ? 0 : arguments_.group_size;
      row.dtype = dtype_name;
      row.median_ms = median(samples[i]);
      row.samples = arguments_.samples;
      if (i > 0) add_ratio(row, rows_[baseline], median_ratio(samples[i], samples[0]));
      print(row);
      rows_.push_back(std::move(row));
    }
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  static void print(const Row& row) {
    std::printf("%-14s %-18s g%-4lld %-9s %10.4f ms", row.name.c_str(), row.shape.c_str(),
                static_cast<long long>(row.group_size), row.dtype.c_str(), row.median_ms);
    if (row.details.contains("ratio")) {
      std::printf("  %.3f of %s", row.details["ratio"].get<double>(),
                  row.details["baseline"].get<std::string>().c_str());
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  const Arguments& arguments_;
  const TorchDevice& device_;
  std::vector<Row> rows_;
};

int bench_linear(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{
      "Times forward + backward of fake-quantized Linears in turns with a plain "
      "torch::nn::Linear."};
  add_torch_options(app, arguments.torch);
  app.add_option("--dtype", arguments.dtypes, "may be repeated")->check(CLI::IsMember(kDTypeNames));
  app.add_option("--shape", arguments.shapes, "OUTxIN, may be repeated");
  app.add_option("--tokens", arguments.tokens)->check(CLI::PositiveNumber);
  app.add_option("--group-size", arguments.group_size)->check(CLI::PositiveNumber);
  app.add_option("--samples", arguments.samples, "medians are over so many")
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", arguments.warmup, "samples before them")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--repeats", arguments.repeats, "passes in a sample")->check(CLI::PositiveNumber);
  app.add_option("--json", arguments.json, "report")->required();
  CLI11_PARSE(app, argc, argv);
  fill_defaults(arguments);

  torch::manual_seed(7);
  const TorchDevice device(arguments.torch);
  LinearBench bench(arguments, device);
  for (const std::string& dtype : arguments.dtypes) {
    for (const std::string& shape : arguments.shapes) {
      bench.run(shape, scalar_type_of(dtype), dtype);
    }
  }
  write_report(arguments.json, "bench_linear",
               {{"device", arguments.torch.device},
                {"machine", device.description()},
                {"torch", TORCH_VERSION}},
               bench.rows());
  return 0;
}

}  // namespace
}  // namespace nibble::benchmarks

int main(int argc, char** argv) {
  return nibble::apps::run_main(nibble::benchmarks::bench_linear, argc, argv);
}
