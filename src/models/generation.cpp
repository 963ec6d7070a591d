#include <nibble/core/error.h>
#include <nibble/models/decode_plan.h>
#include <nibble/models/decode_step.h>
#include <nibble/models/generation.h>
#include <nibble/models/rope.h>
#include <nibble/ops/decoder.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "decode_graph.h"
#include "generated_row.h"

namespace nibble::models {
namespace {

using at::Tensor;

/// The tokens of `text` that the cache does not hold: one after the first call, unless all have to
/// be rotated anew.
Tensor next_input(const std::vector<int64_t>& text, KVCache& cache, const ModelConfig& config) {
  const int64_t length = static_cast<int64_t>(text.size());
  if (rotation_of(config, cache.length()) != rotation_of(config, length)) cache.truncate(0);
  const auto fresh = at::ArrayRef<int64_t>(text).slice(static_cast<size_t>(cache.length()));
  return at::tensor(fresh, at::kLong);
}

/// Fewer tokens would not repay the capture, which takes as long as several ordinary steps.
constexpr int64_t kWorthAGraph = 16;

bool decodes_with_graph(const CausalLMImpl& model, const at::Device& device,
                        const GenerationOptions& options, const GeneratedRow& row) {
  return options.use_graph && device.is_cuda() && DecodeGraph::is_available() && !row.done() &&
         row.limit() - row.new_tokens() >= kWorthAGraph && !DecodeStep::refusal(model);
}

/// The rest of the row. Steps queued beyond its end write where the cache counts no tokens.
void decode_with_graph(CausalLMImpl& model, KVCache& cache, const GenerationOptions& options,
                       GeneratedRow& row, GenerationCost& cost, Stopwatch& watch) {
  DecodeStep step(model, cache);
  DecodeGraph graph(step, options, row.text().back(), cache.length());
  cost.graph_seconds = watch.lap();
  int64_t to_launch = row.limit() - row.new_tokens();
  for (int64_t i = 0; i < DecodeGraph::kAhead && to_launch > 0; ++i, --to_launch) graph.launch();
  while (!row.done()) {
    const int64_t token = graph.read();
    if (to_launch > 0) {
      graph.launch();
      --to_launch;
    }
    row.push(token);
    cache.advance(1);
  }
}

bool decodes_with_plan(const CausalLMImpl& model, const Tensor& hidden,
                       const GenerationOptions& options, const GeneratedRow& row) {
  return options.use_plan && !row.done() && ops::runs_decoder_kernels(hidden) &&
         !DecodePlan::refusal(model);
}

/// The rest of the row on the CPU.
void decode_with_plan(CausalLMImpl& model, KVCache& cache, GeneratedRow& row) {
  DecodePlan plan(model, cache);
  while (!row.done()) row.extend(plan.logits(row.text().back()));
}

}  // namespace

const char* to_string(DecodePath path) {
  switch (path) {
    case DecodePath::kForward:
      return "forward";
    case DecodePath::kPlan:
      return "plan";
    case DecodePath::kCudaGraph:
      return "cuda_graph";
  }
  fail("unknown decode path ", static_cast<int>(path));
}

std::optional<double> GenerationCost::decode_tokens_per_second() const {
  if (decode_tokens == 0) return std::nullopt;
  return static_cast<double>(decode_tokens) / decode_seconds;
}

double GenerationCost::prefill_tokens_per_second() const {
  return static_cast<double>(prefill_tokens) / prefill_seconds;
}

GenerationCost& GenerationCost::operator+=(const GenerationCost& other) {
  prefill_tokens += other.prefill_tokens;
  decode_tokens += other.decode_tokens;
  prefill_seconds += other.prefill_seconds;
  decode_seconds += other.decode_seconds;
  graph_seconds += other.graph_seconds;
  kv_cache_bytes = std::max(kv_cache_bytes, other.kv_cache_bytes);
  if (other.decode_tokens > 0) decode_path = other.decode_path;
  return *this;
}

Generation generate(CausalLMImpl& model, std::span<const int64_t> prompt,
                    const GenerationOptions& options) {
  check_options(options);
  GeneratedRow row(model.config(), prompt, options);
  const c10::InferenceMode inference;
  const EvalScope eval(model);
  PrefixCache own;
  PrefixCache& kept = options.cache ? *options.cache : own;
  // The last new token is never fed back, so the cache needs no room for it.
  KVCache& cache = kept.begin(model, prompt, row.prompt_length() + row.limit() - 1);
  const at::Device device = model.parameters().front().device();
  GenerationCost cost;
  Stopwatch watch;
  while (!row.done()) {
    const Tensor input = next_input(row.text(), cache, model.config());
    const Tensor hidden = model.hidden_states(input.to(device).unsqueeze(0), {.cache = &cache});
    row.extend(model.logits(hidden[0][-1]));
    if (row.new_tokens() == 1) {
      cost.prefill_seconds = watch.lap();
      cost.prefill_tokens = input.size(0);
      if (decodes_with_graph(model, device, options, row)) {
        cost.decode_path = DecodePath::kCudaGraph;
        decode_with_graph(model, cache, options, row, cost, watch);
      } else if (decodes_with_plan(model, hidden, options, row)) {
        cost.decode_path = DecodePath::kPlan;
        decode_with_plan(model, cache, row);
      }
    }
  }
  cost.decode_seconds = watch.lap();
  cost.decode_tokens = row.new_tokens() - 1;
  cost.kv_cache_bytes = cache.bytes();
  kept.end(row.text());
  Generation result = row.result();
  result.cost = cost;
  return result;
}

}  // namespace nibble::models
