#include <nibble/core/error.h>
#include <nibble/nn/linear.h>

#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/bench_support.h"
#include "benchmarks/graph_replay.h"
#include "benchmarks/torch_device.h"
#include "run_main.h"

// Times converted (int4) Linears in turns with the full-precision one, forward only. Weights take
// turns too, so that each is read from memory; on CUDA the calls of a sample are one graph.
namespace nibble::benchmarks {
namespace {

struct Arguments {
  TorchOptions torch;
  std::vector<std::string> dtypes;  ///< empty: the device's defaults, as everything below
  std::vector<std::string> shapes;
  std::vector<int64_t> tokens;
  std::vector<int64_t> group_sizes;
  int samples = 15;
  int warmup = 3;
  std::string json;
};

void fill_defaults(Arguments& arguments) {
  const bool cuda = arguments.torch.on_cuda();
  if (arguments.dtypes.empty()) arguments.dtypes = {"bfloat16"};
  if (arguments.shapes.empty()) {
    arguments.shapes =
        cuda ? std::vector<std::string>{"8192x2048", "14336x4096"}
             : std::vector<std::string>{"576x576", "1536x576", "576x1536", "4096x4096"};
  }
  if (arguments.tokens.empty()) {
    arguments.tokens =
        cuda ? std::vector<int64_t>{1, 16, 64, 256, 4096} : std::vector<int64_t>{1, 256};
  }
  if (arguments.group_sizes.empty()) {
    arguments.group_sizes = cuda ? std::vector<int64_t>{128} : std::vector<int64_t>{32, 128};
  }
}

/// As many copies of a weight as keep every read from being served by a cache.
int64_t copies(int64_t elements, bool cuda) {
  constexpr int64_t kBeyondCaches = int64_t{512} << 20;
  return cuda ? std::max<int64_t>(2, kBeyondCaches / elements) : 1;
}

class QuantizedLinearBench {
 public:
  QuantizedLinearBench(const Arguments& arguments, const TorchDevice& device)
      : arguments_(arguments), device_(device) {}

  /// Nothing where the groups do not divide the input.
  void run(const std::string& shape_text, int64_t group_size, int64_t tokens,
           const std::string& dtype_name) {
    const std::vector<int64_t> shape = parse_shape(shape_text);
    NIBBLE_CHECK(shape.size() == 2, "a Linear's shape is OUTxIN, got ", shape_text);
    if (shape[1] % group_size != 0) return;
    const at::ScalarType dtype = scalar_type_of(dtype_name);
    input_ = torch::randn({tokens, shape[1]}, torch::TensorOptions(device_.device()).dtype(dtype));
    const std::string schemes[] = {"none", "8da4w", "4w"};
    std::vector<std::vector<nn::Linear>> models;
    for (const std::string& scheme : schemes) {
      models.push_back(linears(shape, scheme, group_size, dtype));
    }

    std::vector<std::unique_ptr<GraphReplay>> graphs;
    std::vector<std::function<double()>> contenders;
    for (auto& model : models) {
      const int64_t rounds = rounds_of(std::ssize(model));
      const auto work = [&model, rounds, this] {
        for (int64_t round = 0; round < rounds; ++round) {
          for (nn::Linear& linear : model) linear->forward(input_);
        }
      };
      const auto calls = static_cast<double>(rounds * std::ssize(model));
      if (arguments_.torch.on_cuda()) {
        graphs.push_back(std::make_unique<GraphReplay>(work));
        contenders.push_back(
            [graph = graphs.back().get(), calls] { return graph->milliseconds() / calls; });
      } else {
        contenders.push_back([this, work, calls] { return device_.milliseconds(work) / calls; });
      }
    }
    const auto samples = interleave(contenders, arguments_.warmup, arguments_.samples);

    const size_t baseline = rows_.size();
    for (size_t i = 0; i < samples.size(); ++i) {
      Row row;
      row.name = "quantized linear " + schemes[i];
      row.shape = detail::concat(tokens, "x", shape[1], "x", shape[0]);
      row.group_size = i == 0 ? 0 : group_size;
      row.dtype = dtype_name;
      row.median_ms = median(samples[i]);
      row.samples = arguments_.samples;
      row.details["weight_bytes"] = models[i].front()->storage_bytes();
      if (i > 0) add_ratio(row, rows_[baseline], median_ratio(samples[i], samples[0]));
      print(row);
      rows_.push_back(std::move(row));
    }
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  std::vector<nn::Linear> linears(const std::vector<int64_t>& shape, const std::string& scheme,
                                  int64_t group_size, at::ScalarType dtype) const {
    std::vector<nn::Linear> result;
    const bool cuda = arguments_.torch.on_cuda();
    for (int64_t i = copies(shape[0] * shape[1], cuda); i > 0; --i) {
      nn::Linear linear(torch::nn::LinearOptions(shape[1], shape[0]).bias(false));
      linear->to(device_.device(), dtype);
      linear->eval();
      if (scheme != "none") {
        linear->prepare(benchmark_spec(scheme, group_size));
        linear->convert();
      }
      result.push_back(linear);
    }
    return result;
  }

  /// How often to call each of `count` Linears, so that the start of a graph does not count.
  int64_t rounds_of(int64_t count) const {
    constexpr int64_t kLeastCalls = 40;
    return arguments_.torch.on_cuda() ? (kLeastCalls + count - 1) / count : 1;
  }

  static void print(const Row& row) {
    std::printf("%-22s %-18s g%-4lld %-9s %9.2f us", row.name.c_str(), row.shape.c_str(),
                static_cast<long long>(row.group_size), row.dtype.c_str(), 1e3 * row.median_ms);
    if (row.details.contains("ratio")) {
      std::printf("  %.2fx faster", 1.0 / row.details["ratio"].get<double>());
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  const Arguments& arguments_;
  const TorchDevice& device_;
  torch::Tensor input_;
  std::vector<Row> rows_;
};

int bench_quantized_linear(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Times the forward of converted Linears in turns with the full-precision one."};
  add_torch_options(app, arguments.torch);
  app.add_option("--dtype", arguments.dtypes, "may be repeated")->check(CLI::IsMember(kDTypeNames));
  app.add_option("--shape", arguments.shapes, "OUTxIN, may be repeated");
  app.add_option("--tokens", arguments.tokens, "may be repeated")->check(CLI::PositiveNumber);
  app.add_option("--group-size", arguments.group_sizes, "may be repeated")
      ->check(CLI::PositiveNumber);
  app.add_option("--samples", arguments.samples, "medians are over so many")
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", arguments.warmup, "samples before them")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--json", arguments.json, "report")->required();
  CLI11_PARSE(app, argc, argv);
  fill_defaults(arguments);

  torch::manual_seed(7);
  const torch::NoGradGuard no_grad;
  const TorchDevice device(arguments.torch);
  QuantizedLinearBench bench(arguments, device);
  for (const std::string& dtype : arguments.dtypes) {
    for (const std::string& shape : arguments.shapes) {
      for (const int64_t group_size : arguments.group_sizes) {
        for (const int64_t tokens : arguments.tokens) bench.run(shape, group_size, tokens, dtype);
      }
    }
  }
  write_report(arguments.json, "bench_quantized_linear",
               {{"device", arguments.torch.device},
                {"machine", device.description()},
                {"torch", TORCH_VERSION}},
               bench.rows());
  return 0;
}

}  // namespace
}  // namespace nibble::benchmarks

int main(int argc, char** argv) {
  return nibble::apps::run_main(nibble::benchmarks::bench_quantized_linear, argc, argv);
}
