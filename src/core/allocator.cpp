#include <nibble/core/allocator.h>

#include <cstdlib>  // defines __GLIBC__
#include <limits>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace nibble {

void keep_freed_memory() {
#if defined(__GLIBC__)
  // Without this, blocks beyond 32 MiB (logits, an embedding's gradient) are mapped anew each time:
  // that is the largest M_MMAP_THRESHOLD that glibc takes.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace nibble
