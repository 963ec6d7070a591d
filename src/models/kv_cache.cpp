#include <nibble/core/error.h>
#include <nibble/models/kv_cache.h>

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace nibble::models {

KVCache::KVCache(const Shape& shape, const at::TensorOptions& options)
    : shape_(shape), options_(options) {
  NIBBLE_CHECK(shape.capacity >= 1 && shape.batch >= 1, "a KV cache needs room for a token, got ",
               shape.batch, " rows of ", shape.capacity, " tokens");
  for (int64_t layer = 0; layer < shape.num_layers; ++layer) {
    for (auto* store : {&keys_, &values_}) store->push_back(allocate());
  }
}

at::Tensor KVCache::allocate() const {
  return at::empty({shape_.batch, shape_.num_kv_heads, shape_.capacity, shape_.head_dim}, options_);
}

int64_t KVCache::bytes() const {
  int64_t bytes = 0;
  for (const auto* store : {&keys_, &values_}) {
    for (const at::Tensor& layer : *store) bytes += static_cast<int64_t>(layer.nbytes());
  }
  return bytes;
}

void KVCache::reserve(int64_t capacity) {
  if (capacity <= shape_.capacity) return;
  shape_.capacity = std::max(capacity, 2 * shape_.capacity);
  for (auto* store : {&keys_, &values_}) {
    for (at::Tensor& layer : *store) {
      at::Tensor larger = allocate();
      larger.narrow(2, 0, length_).copy_(layer.narrow(2, 0, length_));
      layer = std::move(larger);
    }
  }
}

std::pair<at::Tensor, at::Tensor> KVCache::append(int64_t layer, const at::Tensor& key,
                                                  const at::Tensor& value) {
  NIBBLE_CHECK(!at::GradMode::is_enabled(),
               "a KV cache is written in place: use it under at::NoGradGuard");
  const int64_t tokens = key.size(2);
  const int64_t total = length_ + tokens;
  NIBBLE_CHECK(total <= shape_.capacity, "the KV cache holds ", shape_.capacity, " tokens; ",
               length_, " are in it and ", tokens, " more do not fit");
  NIBBLE_CHECK(key.size(0) == shape_.batch, "the KV cache has ", shape_.batch,
               " rows, the input has ", key.size(0));
  keys_.at(layer).narrow(2, length_, tokens).copy_(key);
  values_.at(layer).narrow(2, length_, tokens).copy_(value);
  return {keys_[layer].narrow(2, 0, total), values_[layer].narrow(2, 0, total)};
}

void KVCache::set_rotation(int64_t rotation) {
  NIBBLE_CHECK(
      length_ == 0 || rotation == rotation_, "the text has outgrown the context up to which the ",
      length_,
      " cached keys were rotated (original_max_position_embeddings); truncate the KV cache "
      "to 0 and give the model all tokens again");
  rotation_ = rotation;
}

KVCache KVCache::repeated(int64_t rows, int64_t capacity) const {
  NIBBLE_CHECK(shape_.batch == 1, "only the KV cache of one row can be repeated, this one has ",
               shape_.batch);
  NIBBLE_CHECK(capacity >= length_, "a KV cache of ", length_, " tokens does not fit into ",
               capacity);
  Shape shape = shape_;
  shape.batch = rows;
  shape.capacity = capacity;
  KVCache copy(shape, options_);
  copy.length_ = length_;
  copy.rotation_ = rotation_;
  for (size_t layer = 0; layer < keys_.size(); ++layer) {
    copy.keys_[layer].narrow(2, 0, length_).copy_(keys_[layer].narrow(2, 0, length_));
    copy.values_[layer].narrow(2, 0, length_).copy_(values_[layer].narrow(2, 0, length_));
  }
  return copy;
}

void KVCache::truncate(int64_t length) {
  NIBBLE_CHECK(length >= 0 && length <= length_, "the KV cache holds ", length_,
               " tokens and cannot be cut to ", length);
  length_ = length;
}

}  // namespace nibble::models
