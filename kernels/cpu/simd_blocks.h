#pragma once

#include <nibble/core/host_device.h>
#include <nibble/numerics/pack_int4.h>

#include <cstdint>
#include <cstring>

#include "simd_unrolled.h"

/// Arrays a block of SIMD registers V (simd_unrolled.h) at a time, the last one maybe in part.
namespace nibble::kernels::cpu {

/// The count of a full block, known to the compiler.
template <class V>
struct FullBlock {
  NIBBLE_HD constexpr operator int64_t() const { return V::kLanes; }
};

template <class V, class T>
NIBBLE_HD V load(const T* source, FullBlock<V>) {
  return V::load(source);
}
/// One register of `count` values; the lanes behind them repeat the first.
template <class Register, class T>
NIBBLE_HD Register load_first(const T* source, int64_t count) {
  if (count >= Register::kLanes) return Register::load(source);
  T lanes[Register::kLanes];
  for (int64_t i = 0; i < Register::kLanes; ++i) lanes[i] = source[i < count ? i : 0];
  return Register::load(lanes);
}
/// The same for a block: a repeated value changes no extreme.
template <class V, class T>
NIBBLE_HD V load(const T* source, int64_t count) {
  using Part = typename V::Part;
  return V::of([&](int part) __attribute__((always_inline)) {
    const int64_t first = part * Part::kLanes;
    return first < count ? load_first<Part>(source + first, count - first)
                         : Part(static_cast<float>(source[0]));
  });
}

/// Stores the first `count` lanes of one register, whose values are exact in T.
template <class Register, class T>
NIBBLE_HD void store_first(Register value, T* target, int64_t count) {
  if (count >= Register::kLanes) return value.store(target);
  T lanes[Register::kLanes];
  value.store(lanes);
  memcpy(target, lanes, static_cast<size_t>(count) * sizeof(T));
}
/// The same for a block.
template <class V, class T>
NIBBLE_HD void store(V value, T* target, FullBlock<V>) {
  value.store(target);
}
template <class V, class T>
NIBBLE_HD void store(V value, T* target, int64_t count) {
  for (int part = 0; part < V::kParts; ++part) {
    const int64_t first = part * V::Part::kLanes;
    if (first < count) store_first(value.parts[part], target + first, count - first);
  }
}

/// Calls body(first, count) for each block of [0, size). The body must be always inlined: what it
/// keeps in registers would be loaded again for every block.
template <class V, class Body>
NIBBLE_HD void for_each_block(int64_t size, Body&& body) {
  int64_t first = 0;
  for (; first + V::kLanes <= size; first += V::kLanes) body(first, FullBlock<V>{});
  if (first < size) body(first, size - first);
}

// The hardware reads ahead within a page only, and not at all for what is going to be written.
// These ask for the cache lines of a block some way behind this one.
template <class V, class T>
NIBBLE_HD void prefetch_to_read(const T* block) {
  constexpr int64_t kAhead = 2048, kLine = 64;
  for (int64_t byte = 0; byte < V::kLanes * int64_t{sizeof(T)}; byte += kLine) {
    __builtin_prefetch(reinterpret_cast<const char*>(block) + kAhead + byte, 0);
  }
}
template <class V, class T>
NIBBLE_HD void prefetch_to_write(const T* block) {
  constexpr int64_t kAhead = 1024, kLine = 64;
  for (int64_t byte = 0; byte < V::kLanes * int64_t{sizeof(T)}; byte += kLine) {
    __builtin_prefetch(reinterpret_cast<const char*>(block) + kAhead + byte, 1);
  }
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
