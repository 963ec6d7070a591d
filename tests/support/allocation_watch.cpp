#include "support/allocation_watch.h"

#include <atomic>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {

std::atomic<size_t> held{0};
std::atomic<size_t> peak{0};

void note_peak(size_t bytes) {
  size_t before = peak.load();
  while (before < bytes && !peak.compare_exchange_weak(before, bytes)) {
  }
}

void* allocate(size_t size) noexcept {
  void* const pointer = std::malloc(size == 0 ? 1 : size);
  if (pointer == nullptr) {
    note_peak(held + size);
    return nullptr;
  }
  const size_t usable = ::malloc_usable_size(pointer);
  note_peak(held += usable);
  return pointer;
}

void* allocate_or_throw(size_t size) {
  void* const pointer = allocate(size);
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

void release(void* pointer) noexcept {
  if (pointer == nullptr) return;
  held -= ::malloc_usable_size(pointer);
  std::free(pointer);
}

}  // namespace

void* operator new(size_t size) { return allocate_or_throw(size); }
void* operator new[](size_t size) { return allocate_or_throw(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* pointer) noexcept { release(pointer); }
void operator delete[](void* pointer) noexcept { release(pointer); }
void operator delete(void* pointer, size_t) noexcept { release(pointer); }
void operator delete[](void* pointer, size_t) noexcept { release(pointer); }
void operator delete(void* pointer, const std::nothrow_t&) noexcept { release(pointer); }
void operator delete[](void* pointer, const std::nothrow_t&) noexcept { release(pointer); }

namespace nibble::testing {

AllocationWatch::AllocationWatch() : start_(held) { peak = start_; }

size_t AllocationWatch::peak_bytes() const { return peak - start_; }

}  // namespace nibble::testing
