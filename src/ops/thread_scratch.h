#pragma once

#include <cstdint>

namespace nibble::ops {

/// A buffer of this thread's, aligned to 64 bytes, valid until the next call: a layer's products
/// come one after the other, and each would go to the allocator otherwise.
void* scratch_of_thread(int64_t bytes);

}  // namespace nibble::ops
