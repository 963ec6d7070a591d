#include "weight_cache.h"

#include <nibble/core/error.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/mm.h>

#include <utility>

namespace nibble::ops {
namespace {

using at::Tensor;

thread_local WeightCache* current_cache = nullptr;

/// Of the weight's bits. Waits for the device.
int64_t checksum_of(const Tensor& weight) {
  const at::ScalarType bits = weight.element_size() == 4 ? at::kInt : at::kShort;
  const Tensor words = weight.detach().contiguous().view(bits).to(at::kLong).flatten();
  // Weighted, so that exchanged elements show.
  return words.mul(at::arange(1, words.numel() + 1, words.options())).sum().item<int64_t>();
}

}  // namespace

CachedWeight::CachedWeight(Tensor weight, const WeightQuantization& how, Quantized quantized,
                           bool verify)
    : weight_(std::move(weight)),
      how_(how),
      quantized_(std::move(quantized)),
      snapshot_(snapshot_of(weight_)) {
  if (verify) checksum_ = checksum_of(weight_);
}

CachedWeight::Snapshot CachedWeight::snapshot_of(const Tensor& weight) {
  return {static_cast<uint32_t>(weight._version()), weight.const_data_ptr(), weight.scalar_type(),
          weight.sizes().vec(), weight.requires_grad()};
}

bool CachedWeight::is_current() const {
  if (snapshot_of(weight_) != snapshot_) return false;
  NIBBLE_CHECK(!checksum_.has_value() || *checksum_ == checksum_of(weight_), "a weight ",
               weight_.sizes(),
               " was changed inside a CacheScope in a way that its version counter does not show; "
               "call finalize_gradients() before weights change");
  return true;
}

bool CachedWeight::has_gradient() const {
  const std::lock_guard lock(mutex_);
  return gradient_.defined();
}

bool CachedWeight::accumulate(const Tensor& grad_output, const Tensor& input) {
  const std::lock_guard lock(mutex_);
  if (finalized_) return false;
  const Tensor transposed = grad_output.t();
  if (!gradient_.defined()) {
    gradient_ = at::mm(transposed, input);
  } else if (grad_output.scalar_type() == snapshot_.dtype) {
    gradient_.addmm_(transposed, input);
  } else {
    // Products under autocast are summed in the dtype of the weight, as autograd does.
    gradient_ = cast(gradient_, snapshot_.dtype).add_(at::mm(transposed, input));
  }
  return true;
}

void CachedWeight::finalize() {
  const std::lock_guard lock(mutex_);
  finalized_ = true;
  if (!gradient_.defined()) return;
  const at::NoGradGuard no_grad;
  gradient_ = straight_through(gradient_, weight_matrix(snapshot_.sizes, snapshot_.dtype, how_),
                               quantized_.scales, quantized_.in_range, /*may_overwrite=*/true);
  Tensor& target = weight_.mutable_grad();
  if (target.defined()) {
    target.add_(gradient_);
  } else {
    target = gradient_.to(weight_.options());
  }
  gradient_ = Tensor();
}

bool CachedWeight::discard() {
  const std::lock_guard lock(mutex_);
  finalized_ = true;
  return std::exchange(gradient_, Tensor()).defined();
}

WeightCache* WeightCache::current() { return current_cache; }
void WeightCache::set_current(WeightCache* cache) { current_cache = cache; }

c10::intrusive_ptr<CachedWeight> WeightCache::find(const Tensor& weight,
                                                   const WeightQuantization& how) {
  const auto [begin, end] = entries_.equal_range(weight.unsafeGetTensorImpl());
  for (auto entry = begin; entry != end; ++entry) {
    if (!entry->second->is_for(how)) continue;
    if (entry->second->is_current()) return entry->second;
    entry->second->finalize();
    entries_.erase(entry);
    break;
  }
  return {};
}

c10::intrusive_ptr<CachedWeight> WeightCache::insert(const Tensor& weight,
                                                     const WeightQuantization& how,
                                                     Quantized quantized) {
  auto entry = c10::make_intrusive<CachedWeight>(weight, how, std::move(quantized), verify_);
  entries_.emplace(weight.unsafeGetTensorImpl(), entry);
  return entry;
}

void WeightCache::finalize() {
  for (const auto& [weight, entry] : entries_) entry->finalize();
  entries_.clear();
}

int64_t WeightCache::discard() {
  int64_t lost = 0;
  for (const auto& [weight, entry] : entries_) lost += entry->discard();
  entries_.clear();
  return lost;
}

int64_t WeightCache::pending() const {
  int64_t result = 0;
  for (const auto& [weight, entry] : entries_) result += entry->has_gradient();
  return result;
}

}  // namespace nibble::ops
