#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace nibble::models {

/// Keys and values of the tokens that a model has seen, in memory allocated ahead: a new token is
/// written behind the others and nothing is copied. For inference only: it is written in place, so
/// autograd must be off.
class KVCache {
 public:
  struct Shape {
    int64_t num_layers = 0;
    int64_t batch = 1;
    int64_t num_kv_heads = 0;
    int64_t capacity = 0;  ///< tokens
    int64_t head_dim = 0;
  };
  KVCache(const Shape& shape, const at::TensorOptions& options);

  /// Tokens that every layer holds.
  int64_t length() const { return length_; }
  int64_t capacity() const { return shape_.capacity; }
  int64_t batch() const { return shape_.batch; }
  /// Of the memory allocated, full or not.
  int64_t bytes() const;

  /// Appends `key` and `value` [batch, kv_heads, T, head_dim] of one layer and returns views of all
  /// that the layer holds now, [batch, kv_heads, length() + T, head_dim]. Throws Error when the
  /// capacity is exceeded or gradients are recorded.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& key,
                                           const at::Tensor& value);
  /// Keys and values of one layer with the room behind them, [batch, kv_heads, capacity, head_dim]:
  /// for kernels that write at a position which the device knows. advance() counts what they wrote.
  std::pair<at::Tensor, at::Tensor> layer(int64_t layer) const {
    return {keys_.at(static_cast<size_t>(layer)), values_.at(static_cast<size_t>(layer))};
  }
  /// Says which rotation (rope.h, rotation_of) the keys of the next tokens have. Throws Error when
  /// the cached ones have another.
  void set_rotation(int64_t rotation);
  /// Counts the tokens that every layer has appended. The model calls it once a forward.
  void advance(int64_t tokens) { length_ += tokens; }
  /// Makes room for `capacity` tokens. Growing copies what the cache holds, so it at least doubles.
  void reserve(int64_t capacity);
  /// A cache of `rows` rows that each hold what this one's only row holds, with room for
  /// `capacity` tokens. Throws Error when this one has more rows or more tokens.
  KVCache repeated(int64_t rows, int64_t capacity) const;
  /// Forgets all but the first `length` tokens.
  void truncate(int64_t length);

 private:
  at::Tensor allocate() const;

  Shape shape_;
  at::TensorOptions options_;
  int64_t length_ = 0;
  int64_t rotation_ = 0;
  std::vector<at::Tensor> keys_;  ///< a layer each: [batch, kv_heads, capacity, head_dim]
  std::vector<at::Tensor> values_;
};

}  // namespace nibble::models
