#include "thread_scratch.h"

#include <c10/core/CPUAllocator.h>

namespace nibble::ops {

void* scratch_of_thread(int64_t bytes) {
  thread_local at::DataPtr buffer;
  thread_local int64_t capacity = 0;
  if (bytes > capacity) {
    buffer = c10::GetCPUAllocator()->allocate(static_cast<size_t>(bytes));
    capacity = bytes;
  }
  return buffer.get();
}

}  // namespace nibble::ops
