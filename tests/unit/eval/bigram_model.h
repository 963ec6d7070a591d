#pragma once

#include <nibble/core/error.h>
#include <nibble/models/causal_lm.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <memory>
#include <utility>

namespace nibble::testing {

/// A language model one can compute by hand: the logits of the next token are a row of a table,
/// chosen by the current token.
class BigramModel : public models::CausalLMImpl {
 public:
  explicit BigramModel(at::Tensor table)
      : CausalLMImpl(config_of(table), nlohmann::json::object()),
        table_(register_parameter("table", std::move(table))),
        child_(register_module("child", torch::nn::Dropout(0.5))) {}

  at::Tensor hidden_states(const at::Tensor& token_ids,
                           const models::ForwardOptions& options) override {
    NIBBLE_CHECK(!is_training(), "scored in training mode");
    if (options.cache) options.cache->advance(token_ids.size(1));
    return table_.index({token_ids});
  }
  at::Tensor logits(const at::Tensor& hidden) override { return hidden.clone(); }
  models::KVCache make_cache(int64_t batch, int64_t capacity) const override {
    return {{.num_layers = 0, .batch = batch, .capacity = capacity}, table_.options()};
  }
  bool has_tied_embeddings() const override { return false; }

  torch::nn::Dropout& child() { return child_; }

  /// The NLL of `target` after `token`.
  double nll(int64_t token, int64_t target) const {
    const at::Tensor row = table_[token].to(at::kDouble);
    return (row.logsumexp(0) - row[target]).item<double>();
  }

 private:
  static models::ModelConfig config_of(const at::Tensor& table) {
    models::ModelConfig config;
    config.vocab_size = table.size(0);
    config.hidden_size = table.size(1);
    config.max_position_embeddings = 64;
    return config;
  }

  at::Tensor table_;
  torch::nn::Dropout child_;
};

inline std::shared_ptr<BigramModel> random_bigram_model(int64_t vocab_size) {
  torch::manual_seed(1);
  return std::make_shared<BigramModel>(torch::randn({vocab_size, vocab_size}));
}

}  // namespace nibble::testing
