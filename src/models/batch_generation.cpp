#include <nibble/core/error.h>
#include <nibble/models/generation.h>
#include <nibble/models/rope.h>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "generated_row.h"

namespace nibble::models {
namespace {

using at::Tensor;

/// Rows of different lengths that end at the same column, so that all new tokens have one column.
class PaddedBatch {
 public:
  PaddedBatch(CausalLMImpl& model, std::vector<GeneratedRow>& rows)
      : model_(model),
        rows_(rows),
        device_(model.parameters().front().device()),
        width_(longest_prompt()),
        cache_(model.make_cache(static_cast<int64_t>(rows.size()), width_ + most_new_tokens() - 1)),
        real_(at::ones({cache_.batch(), cache_.capacity()}, at::kLong)) {
    Tensor padding = at::empty({cache_.batch()}, at::kLong);
    for (int64_t i = 0; i < cache_.batch(); ++i) {
      const int64_t pad = width_ - rows_[static_cast<size_t>(i)].prompt_length();
      real_[i].narrow(0, 0, pad).zero_();
      padding[i] = pad;
    }
    is_padded_ = padding.any().item<bool>();
    padding_ = padding.unsqueeze(1).to(device_);
    real_ = real_.to(device_);
  }

  void prefill() {
    Tensor ids = at::zeros({cache_.batch(), width_}, at::kLong);
    for (int64_t i = 0; i < cache_.batch(); ++i) {
      const std::vector<int64_t>& text = rows_[static_cast<size_t>(i)].text();
      ids[i]
          .slice(0, width_ - static_cast<int64_t>(text.size()))
          .copy_(at::tensor(text, at::kLong));
    }
    extend_rows(ids);
  }

  /// One token a row. A row that is done goes on with its last one, which nobody reads.
  void decode() {
    std::vector<int64_t> last;
    for (const GeneratedRow& row : rows_) last.push_back(row.text().back());
    extend_rows(at::tensor(last, at::kLong).unsqueeze(1));
  }

  bool done() const {
    return std::all_of(rows_.begin(), rows_.end(), [](const auto& row) { return row.done(); });
  }
  const KVCache& cache() const { return cache_; }

 private:
  int64_t longest_prompt() const {
    int64_t longest = 0;
    for (const GeneratedRow& row : rows_) longest = std::max(longest, row.prompt_length());
    return longest;
  }
  int64_t most_new_tokens() const {
    int64_t most = 0;
    for (const GeneratedRow& row : rows_) most = std::max(most, row.limit());
    return most;
  }

  void extend_rows(const Tensor& ids) {
    const int64_t past = cache_.length(), total = past + ids.size(1);
    ForwardOptions options{.cache = &cache_};
    if (is_padded_) {
      options.attention_mask = real_.narrow(1, 0, total);
      const Tensor columns = at::arange(past, total, padding_.options());
      options.position_ids = (columns - padding_).clamp_min(0);
    }
    const Tensor hidden = model_.hidden_states(ids.to(device_), options);
    const Tensor logits = model_.logits(hidden.select(1, -1));
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (!rows_[i].done()) rows_[i].extend(logits[static_cast<int64_t>(i)]);
    }
  }

  CausalLMImpl& model_;
  std::vector<GeneratedRow>& rows_;
  at::Device device_;
  int64_t width_;  ///< columns of the prompts
  KVCache cache_;
  Tensor real_;     ///< [rows, capacity] int64, 0 for padding
  Tensor padding_;  ///< [rows, 1] int64, columns of padding
  bool is_padded_ = false;
};

bool rotation_depends_on_length(const ModelConfig& config) {
  return rotation_of(config, std::numeric_limits<int64_t>::max()) != 0;
}

BatchGeneration generate_one_by_one(CausalLMImpl& model,
                                    std::span<const std::vector<int64_t>> prompts,
                                    const GenerationOptions& options) {
  BatchGeneration result;
  for (const std::vector<int64_t>& prompt : prompts) {
    result.rows.push_back(generate(model, prompt, options));
    result.cost += std::exchange(result.rows.back().cost, {});
  }
  return result;
}

}  // namespace

BatchGeneration generate_batch(CausalLMImpl& model, std::span<const std::vector<int64_t>> prompts,
                               const GenerationOptions& options) {
  check_options(options);
  NIBBLE_CHECK(!prompts.empty(), "a batch needs at least one prompt");
  NIBBLE_CHECK(!options.on_token && !options.cache,
               "on_token and cache are for the generation of one prompt");
  if (rotation_depends_on_length(model.config())) {
    return generate_one_by_one(model, prompts, options);
  }
  std::vector<GeneratedRow> rows;
  BatchGeneration result;
  for (const std::vector<int64_t>& prompt : prompts) {
    rows.emplace_back(model.config(), prompt, options);
    result.cost.prefill_tokens += rows.back().prompt_length();
  }
  const c10::InferenceMode inference;
  const EvalScope eval(model);
  PaddedBatch batch(model, rows);
  Stopwatch watch;
  batch.prefill();
  result.cost.prefill_seconds = watch.lap();
  while (!batch.done()) batch.decode();
  result.cost.decode_seconds = watch.lap();
  result.cost.kv_cache_bytes = batch.cache().bytes();
  for (const GeneratedRow& row : rows) {
    result.rows.push_back(row.result());
    result.cost.decode_tokens += row.new_tokens() - 1;
  }
  return result;
}

}  // namespace nibble::models
