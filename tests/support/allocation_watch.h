#pragma once

#include <cstddef>

namespace nibble::testing {

/// Watches what operator new hands out in this process, in all threads. One at a time. Programs
/// that use it link allocation_watch.cpp, which replaces the global operators new and delete.
class AllocationWatch {
 public:
  AllocationWatch();
  /// The most bytes that were held at once since the start, beyond those held at the start. A
  /// request that failed counts too.
  size_t peak_bytes() const;

 private:
  size_t start_;
};

}  // namespace nibble::testing
