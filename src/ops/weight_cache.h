#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fake_quant_calls.h"

/// What a CacheScope holds. Keyed by the weight itself, held strongly, so that no address is met
/// again under another tensor.
namespace nibble::ops {

/// One weight's codes, and the gradient that its uses have accumulated. Autograd nodes keep it.
class CachedWeight : public torch::CustomClassHolder {
 public:
  /// `quantized` has packed codes, scales, zeros and, if the weight trains, in-range bits.
  CachedWeight(at::Tensor weight, const WeightQuantization& how, Quantized quantized, bool verify);

  bool is_for(const WeightQuantization& how) const { return how_ == how; }
  /// False once the weight shows a change. Throws Error for one that only its checksum shows.
  bool is_current() const;
  const Quantized& quantized() const { return quantized_; }
  bool has_gradient() const;

  /// Adds grad_output^T input ([tokens, out], [tokens, in]) to the gradient. False when finalize()
  /// was called before: the caller then returns the gradient through autograd.
  bool accumulate(const at::Tensor& grad_output, const at::Tensor& input);
  /// Adds the masked gradient to the weight's `.grad`; nothing accumulates afterwards.
  void finalize();
  /// Forgets the gradient instead; returns whether there was one.
  bool discard();

 private:
  /// What writes to the weight change, and whether in-range bits were needed.
  struct Snapshot {
    uint32_t version;
    const void* data;
    at::ScalarType dtype;
    std::vector<int64_t> sizes;
    bool trains;
    bool operator==(const Snapshot&) const = default;
  };
  static Snapshot snapshot_of(const at::Tensor& weight);

  at::Tensor weight_;
  WeightQuantization how_;
  Quantized quantized_;
  Snapshot snapshot_;
  std::optional<int64_t> checksum_;
  mutable std::mutex mutex_;
  at::Tensor gradient_;
  bool finalized_ = false;
};

class WeightCache {
 public:
  explicit WeightCache(bool verify) : verify_(verify) {}

  /// That of the scope open on this thread, or null.
  static WeightCache* current();
  static void set_current(WeightCache* cache);

  /// The codes of `weight` as it is now, or null. A stale entry is finalized and forgotten.
  c10::intrusive_ptr<CachedWeight> find(const at::Tensor& weight, const WeightQuantization& how);
  c10::intrusive_ptr<CachedWeight> insert(const at::Tensor& weight, const WeightQuantization& how,
                                          Quantized quantized);
  void finalize();
  /// Forgets all without touching `.grad`; returns how many gradients that lost.
  int64_t discard();

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  int64_t pending() const;

 private:
  bool verify_;
  /// Several for a weight that is quantized in several ways.
  std::unordered_multimap<const at::TensorImpl*, c10::intrusive_ptr<CachedWeight>> entries_;
};

}  // namespace nibble::ops
