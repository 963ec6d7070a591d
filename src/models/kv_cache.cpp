#include <nibble/core/error.h>
#include <nibble/models/kv_cache.h>

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

namespace nibble::models {

KVCache::KVCache(const Shape& shape, const at::TensorOptions& options) : shape_(shape) {
  NIBBLE_CHECK(shape.capacity >= 1 && shape.batch >= 1, "a KV cache needs room for a token, got ",
               shape.batch, " rows of ", shape.capacity, " tokens");
  for (int64_t layer = 0; layer < shape.num_layers; ++layer) {
    for (auto* store : {&keys_, &values_}) {
      store->push_back(
          at::empty({shape.batch, shape.num_kv_heads, shape.capacity, shape.head_dim}, options));
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

void KVCache::truncate(int64_t length) {
  NIBBLE_CHECK(length >= 0 && length <= length_, "the KV cache holds ", length_,
               " tokens and cannot be cut to ", length);
  length_ = length;
}

}  // namespace nibble::models
