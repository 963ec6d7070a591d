#pragma once

#include <cstdint>
#include <memory>

namespace nibble::ops {

class WeightCache;

/// While one is open on a thread, a weight is fake-quantized once, however many micro-batches,
/// uses and recomputed forwards read it, and its straight-through mask is applied once, to the
/// accumulated gradient:
///
///     nibble::CacheScope scope;
///     for (const auto& batch : micro_batches) loss(model, batch).backward();
///     scope.finalize_gradients();  // before the gradients are clipped or read
///     optimizer.step();
///
/// Until finalize_gradients() the gradients of fake-quantized weights are not in `.grad`, their
/// hooks do not run, and torch::autograd::grad() does not give them. All other gradients arrive as
/// usual. Nothing else changes, and without a scope a plain loop is right as well.
///
/// Weights must not change between a forward and finalize_gradients(). A change that the weight's
/// version counter, storage or dtype shows is noticed and quantized anew; one that nothing shows
/// (fused optimizers, writes through `.data()`) is noticed only where `verify` is on, which
/// compares a checksum of the weight on every use and throws Error. Between finalize_gradients()
/// and the next forward anything may happen to them.
///
/// One scope a thread; a second one is an Error. Backward may run on other threads, a forward that
/// does (activation checkpointing on CUDA) is right but does not share the codes.
class CacheScope {
 public:
#if defined(NIBBLE_DEBUG_CHECKS)
  static constexpr bool kVerifyByDefault = true;
#else
  static constexpr bool kVerifyByDefault = false;
#endif

  explicit CacheScope(bool verify = kVerifyByDefault);
  /// Gradients that were not finalized are dropped, with an error in the log unless an exception
  /// is under way.
  ~CacheScope();
  CacheScope(const CacheScope&) = delete;
  CacheScope& operator=(const CacheScope&) = delete;

  /// Adds ((g * s) * in_range) * (1 / s) (symmetric grid; / s on the affine one) of each weight's
  /// accumulated gradient g to its `.grad`, and forgets all codes.
  void finalize_gradients();

  /// Weights whose codes are held, and gradients that wait for finalize_gradients().
  int64_t cached_weights() const;
  int64_t pending_gradients() const;

 private:
  std::unique_ptr<WeightCache> cache_;
  int exceptions_;
};

}  // namespace nibble::ops

namespace nibble {
using ops::CacheScope;
}
