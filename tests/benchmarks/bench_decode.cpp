#include <nibble/core/error.h>
#include <nibble/models/decoder.h>
#include <nibble/models/generation.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/quantization/quantizer.h>

#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/bench_model.h"
#include "benchmarks/bench_support.h"
#include "benchmarks/torch_device.h"
#include "run_main.h"

// Times greedy decoding of one text, token by token, with and without a CUDA graph.
namespace nibble::benchmarks {
namespace {

struct Arguments {
  TorchOptions torch;
  std::string dtype = "bfloat16";
  std::string model;
  bool random_weights = false;
  std::vector<std::string> schemes = {kNoScheme, "4w"};
  int64_t group_size = 128;
  bool int8_head = false;
  int64_t prompt_tokens = 128;
  int64_t new_tokens = 256;
  int samples = 3;
  std::string json;
};

std::vector<int64_t> random_prompt(int64_t length, int64_t vocab_size) {
  std::mt19937_64 random(7);
  std::uniform_int_distribution<int64_t> token(0, vocab_size - 1);
  std::vector<int64_t> prompt(static_cast<size_t>(length));
  for (int64_t& id : prompt) id = token(random);
  return prompt;
}

/// Leading tokens that two answers have in common.
int64_t common_tokens(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

/// Embedding and output projection as int8, one weight where they are tied.
void keep_as_int8(models::DecoderLMImpl& model) {
  nn::EmbeddingImpl& embedding = *model.model->embed_tokens;
  const bool tied = model.lm_head->weight.is_same(embedding.weight);
  const at::ScalarType dtype = embedding.weight.scalar_type();
  const nn::Int8Weight head = quantize_int8(model.lm_head->weight.detach());
  embedding.load_int8(tied ? head : quantize_int8(embedding.weight.detach()), dtype);
  model.lm_head->load_int8(head, dtype);
}

class DecodeBench {
 public:
  DecodeBench(const Arguments& arguments, const TorchDevice& device)
      : arguments_(arguments), device_(device) {}

  void run(const std::string& scheme) {
    const auto model = load_benchmark_model(arguments_.model, arguments_.random_weights,
                                            scalar_type_of(arguments_.dtype), device_.device());
    if (scheme != kNoScheme) {
      const SpecQATQuantizer quantizer(benchmark_spec(scheme, arguments_.group_size));
      quantizer.prepare(*model);
      quantizer.convert(*model);
    }
    if (arguments_.int8_head) keep_as_int8(dynamic_cast<models::DecoderLMImpl&>(*model));
    model->eval();
    const auto prompt = random_prompt(arguments_.prompt_tokens, model->config().vocab_size);
    const auto plain = measure(*model, prompt, scheme, /*use_graph=*/false);
    if (!device_.device().is_cuda()) return;
    const auto graph = measure(*model, prompt, scheme, /*use_graph=*/true);
    rows_.back().details["tokens_in_common_with_plain"] = common_tokens(plain, graph);
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  std::vector<int64_t> measure(models::CausalLMImpl& model, const std::vector<int64_t>& prompt,
                               const std::string& scheme, bool use_graph) {
    const models::GenerationOptions options{.max_new_tokens = arguments_.new_tokens,
                                            .stop_ids = std::vector<int64_t>{},
                                            .use_graph = use_graph};
    std::vector<double> milliseconds;
    models::Generation answer;
    for (int sample = 0; sample <= arguments_.samples; ++sample) {
      answer = models::generate(model, prompt, options);
      if (sample > 0) milliseconds.push_back(1e3 / *answer.cost.decode_tokens_per_second());
    }
    Row row;
    row.name = detail::concat("decode ", scheme, arguments_.int8_head ? ", int8 head" : "",
                              use_graph ? ", graph" : "");
    row.shape = detail::concat(arguments_.prompt_tokens, "+", arguments_.new_tokens);
    row.group_size = scheme == kNoScheme ? 0 : arguments_.group_size;
    row.dtype = arguments_.dtype;
    row.median_ms = median(milliseconds);
    row.samples = arguments_.samples;
    row.details["decode_tokens_per_second"] = 1e3 / row.median_ms;
    row.details["graph_seconds"] = answer.cost.graph_seconds;
    std::printf("%-20s %-10s g%-4lld %-9s %9.4f ms %9.1f tokens/s\n", row.name.c_str(),
                row.shape.c_str(), static_cast<long long>(row.group_size), row.dtype.c_str(),
                row.median_ms, 1e3 / row.median_ms);
    std::fflush(stdout);
    rows_.push_back(std::move(row));
    return answer.tokens;
  }

  const Arguments& arguments_;
  const TorchDevice& device_;
  std::vector<Row> rows_;
};

int bench_decode(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Times greedy decoding of one text after a random prompt."};
  add_torch_options(app, arguments.torch);
  app.add_option("--dtype", arguments.dtype)->check(CLI::IsMember(kDTypeNames));
  app.add_option("--model", arguments.model, "Hugging Face directory or GGUF file")->required();
  app.add_flag("--random-weights", arguments.random_weights,
               "--model is a config.json, or a directory with one");
  app.add_option("--scheme", arguments.schemes, "may be repeated; default: none and 4w")
      ->check(CLI::IsMember({kNoScheme, "8da4w", "4w"}));
  app.add_option("--group-size", arguments.group_size, "-1: per channel");
  app.add_flag("--int8-head", arguments.int8_head, "embedding and lm_head as int8");
  app.add_option("--prompt-tokens", arguments.prompt_tokens)->check(CLI::PositiveNumber);
  app.add_option("--new-tokens", arguments.new_tokens)->check(CLI::Range(2, 1 << 20));
  app.add_option("--samples", arguments.samples, "medians are over so many, after one more")
      ->check(CLI::PositiveNumber);
  app.add_option("--json", arguments.json, "report")->required();
  CLI11_PARSE(app, argc, argv);

  const TorchDevice device(arguments.torch);
  DecodeBench bench(arguments, device);
  for (const std::string& scheme : arguments.schemes) bench.run(scheme);
  write_report(arguments.json, "bench_decode",
               {{"device", arguments.torch.device},
                {"machine", device.description()},
                {"torch", TORCH_VERSION},
                {"model", arguments.model}},
               bench.rows());
  return 0;
}

}  // namespace
}  // namespace nibble::benchmarks

int main(int argc, char** argv) {
  return nibble::apps::run_main(nibble::benchmarks::bench_decode, argc, argv);
}
