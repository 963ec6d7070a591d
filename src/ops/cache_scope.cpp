#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/ops/cache_scope.h>

#include <exception>

#include "weight_cache.h"

namespace nibble::ops {

CacheScope::CacheScope(bool verify)
    : cache_(std::make_unique<WeightCache>(verify)), exceptions_(std::uncaught_exceptions()) {
  NIBBLE_CHECK(WeightCache::current() == nullptr, "a CacheScope is open on this thread already");
  WeightCache::set_current(cache_.get());
}

CacheScope::~CacheScope() {
  WeightCache::set_current(nullptr);
  const int64_t lost = cache_->discard();
  if (lost > 0 && std::uncaught_exceptions() == exceptions_) {
    log::error(detail::concat("a CacheScope ended with the gradients of ", lost,
                              " weights not finalized: they are lost. Call finalize_gradients() "
                              "after the last backward"));
  }
}

void CacheScope::finalize_gradients() { cache_->finalize(); }

int64_t CacheScope::cached_weights() const { return cache_->size(); }
int64_t CacheScope::pending_gradients() const { return cache_->pending(); }

}  // namespace nibble::ops
