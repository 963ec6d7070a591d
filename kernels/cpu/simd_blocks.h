#pragma once

#include <nibble/core/host_device.h>
#include <nibble/numerics/pack_int4.h>

#include <cstdint>
#include <cstring>

/// Arrays a SIMD register V (simd_avx2.h, simd_avx512.h) at a time, the last one maybe in part.
namespace nibble::kernels::cpu {

/// The count of a full register, known to the compiler.
template <class V>
struct FullBlock {
  NIBBLE_HD constexpr operator int64_t() const { return V::kLanes; }
};

template <class V, class T>
NIBBLE_HD V load(const T* source, FullBlock<V>) {
  return V::load(source);
}
/// Lanes from `count` on repeat the first value, which changes no extreme.
template <class V, class T>
NIBBLE_HD V load(const T* source, int64_t count) {
  T lanes[V::kLanes];
  for (int64_t i = 0; i < V::kLanes; ++i) lanes[i] = source[i < count ? i : 0];
  return V::load(lanes);
}

template <class V, class T>
NIBBLE_HD void store(V value, T* target, FullBlock<V>) {
  value.store(target);
}
template <class V, class T>
NIBBLE_HD void store(V value, T* target, int64_t count) {
  T lanes[V::kLanes];
  value.store(lanes);
  memcpy(target, lanes, static_cast<size_t>(count) * sizeof(T));
}

/// Calls body(first, count) for each register's worth of [0, size).
template <class V, class Body>
NIBBLE_HD void for_each_block(int64_t size, Body&& body) {
  int64_t first = 0;
  for (; first + V::kLanes <= size; first += V::kLanes) body(first, FullBlock<V>{});
  if (first < size) body(first, size - first);
}

// The hardware reads ahead within a page only, and not at all for what is going to be written.
NIBBLE_HD void prefetch_to_read(const void* address) {
  constexpr int64_t kAhead = 2048;
  __builtin_prefetch(static_cast<const char*>(address) + kAhead, 0);
}
NIBBLE_HD void prefetch_to_write(const void* address) {
  constexpr int64_t kAhead = 1024;
  __builtin_prefetch(static_cast<const char*>(address) + kAhead, 1);
}

/// Nibbles to and from the columns of a packed row from `col` on.
template <class V>
NIBBLE_HD void store_nibbles(typename V::Nibbles nibbles, uint8_t* row, int64_t col,
                             int64_t count) {
  if (count == V::kLanes && col % 2 == 0) {
    nibbles.store(row + col / 2);
    return;
  }
  int8_t lanes[V::kLanes];
  nibbles.store_unpacked(lanes);
  for (int64_t i = 0; i < count; ++i) numerics::set_nibble(row, col + i, lanes[i]);
}

template <class V>
NIBBLE_HD typename V::Nibbles load_nibbles(const uint8_t* row, int64_t col, int64_t count) {
  if (count == V::kLanes && col % 2 == 0) return V::Nibbles::load(row + col / 2);
  int8_t lanes[V::kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    lanes[i] = static_cast<int8_t>(numerics::nibble_at(row, col + i));
  }
  return V::Nibbles::load_unpacked(lanes);
}

}  // namespace nibble::kernels::cpu
