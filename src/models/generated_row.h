#pragma once

#include <nibble/models/generation.h>

#include <ATen/core/Generator.h>

#include <chrono>
#include <span>
#include <vector>

namespace nibble::models {

/// Evaluation mode for the lifetime of the object.
class EvalScope {
 public:
  explicit EvalScope(torch::nn::Module& model) : model_(model), was_training_(model.is_training()) {
    model_.eval();
  }
  ~EvalScope() { model_.train(was_training_); }
  EvalScope(const EvalScope&) = delete;
  EvalScope& operator=(const EvalScope&) = delete;

 private:
  torch::nn::Module& model_;
  bool was_training_;
};

/// Seconds since the last call, or since it was made.
class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> passed = now - last_;
    last_ = now;
    return passed.count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Throws Error for an option outside its range.
void check_options(const GenerationOptions& options);

/// A text that grows token by token until something ends it.
class GeneratedRow {
 public:
  /// Throws Error for a prompt that is empty or fills the context. `options` must outlive it.
  GeneratedRow(const ModelConfig& config, std::span<const int64_t> prompt,
               const GenerationOptions& options);

  /// Chooses the next token by its logits [vocab_size].
  void extend(const at::Tensor& logits);
  /// Takes a token that was chosen elsewhere.
  void push(int64_t token);

  bool done() const { return done_; }
  /// Prompt and new tokens.
  const std::vector<int64_t>& text() const { return text_; }
  int64_t prompt_length() const { return prompt_length_; }
  /// The most new tokens there can be.
  int64_t limit() const { return limit_; }
  int64_t new_tokens() const { return static_cast<int64_t>(text_.size()) - prompt_length_; }
  Generation result() const;

 private:
  void finish(FinishReason reason);

  const GenerationOptions& options_;
  const std::vector<int64_t>& stops_;
  std::vector<int64_t> text_;
  int64_t prompt_length_;
  int64_t limit_;
  at::Generator generator_;
  bool done_ = false;
  FinishReason finish_ = FinishReason::kTokenLimit;
};

}  // namespace nibble::models
