#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>

/// Several SIMD registers (simd_avx2.h, simd_avx512.h) that take each step together: one does not
/// wait for another's result, and what is decided once a block is decided less often.
namespace nibble::kernels::cpu {

template <class Register, int kRegisters>
struct Unrolled {
  using Part = Register;
  static constexpr int kParts = kRegisters;
  static constexpr int64_t kLanes = kParts * Part::kLanes;

  Part parts[kParts];

  Unrolled() = default;
  NIBBLE_HD explicit Unrolled(float value) {
    for (Part& part : parts) part = Part(value);
  }
  /// Of part_at(i) for every part i.
  template <class Function>
  NIBBLE_HD static Unrolled of(Function part_at) {
    Unrolled result;
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) result.parts[i] = part_at(i);
    return result;
  }

  template <class T>
  NIBBLE_HD static Unrolled load(const T* source) {
    return of([&](int i)
                  __attribute__((always_inline)) { return Part::load(source + i * Part::kLanes); });
  }
  template <class T>
  NIBBLE_HD void store(T* target) const {
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) parts[i].store(target + i * Part::kLanes);
  }

  /// Integers from 0 to 15, see Part::Nibbles.
  struct Nibbles {
    typename Part::Nibbles parts[kParts];

    NIBBLE_HD static Nibbles load(const uint8_t* packed) {
      Nibbles result;
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) {
        result.parts[i] = Part::Nibbles::load(packed + i * Part::kLanes / 2);
      }
      return result;
    }
    NIBBLE_HD static Nibbles load_unpacked(const int8_t* source) {
      Nibbles result;
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) {
        result.parts[i] = Part::Nibbles::load_unpacked(source + i * Part::kLanes);
      }
      return result;
    }
    NIBBLE_HD void store(uint8_t* packed) const {
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) parts[i].store(packed + i * Part::kLanes / 2);
    }
    NIBBLE_HD void store_unpacked(int8_t* target) const {
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) parts[i].store_unpacked(target + i * Part::kLanes);
    }
  };
  NIBBLE_HD Nibbles to_nibbles(int smallest) const {
    Nibbles result;
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) result.parts[i] = parts[i].to_nibbles(smallest);
    return result;
  }

  /// A value for each nibble.
  class Table {
   public:
    template <class Function>
    NIBBLE_HD explicit Table(Function value_of) : values_(value_of) {}
    NIBBLE_HD Unrolled operator[](Nibbles nibbles) const {
      return of([&](int i) __attribute__((always_inline)) { return values_[nibbles.parts[i]]; });
    }

   private:
    typename Part::Table values_;
  };

  struct Mask {
    typename Part::Mask parts[kParts];
  };
  NIBBLE_HD static Mask mask_from_bits(uint32_t bits) {
    Mask mask;
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) {
      mask.parts[i] = Part::mask_from_bits(bits >> (i * Part::kLanes));
    }
    return mask;
  }
  NIBBLE_HD static uint32_t bits_of(Mask mask) {
    uint32_t bits = 0;
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) bits |= Part::bits_of(mask.parts[i]) << (i * Part::kLanes);
    return bits;
  }
};

/// The parts under `op`, one register.
template <class Part, int kParts, class Op>
NIBBLE_HD Part reduce_parts(const Unrolled<Part, kParts>& a, Op op) {
  Part result = a.parts[0];
#pragma GCC unroll 4
  for (int i = 1; i < kParts; ++i) result = op(result, a.parts[i]);
  return result;
}

// The operations of the parts, part by part.
#define NIBBLE_UNROLL_UNARY(operation)                                            \
  template <class Part, int kParts>                                               \
  NIBBLE_HD Unrolled<Part, kParts> operation(const Unrolled<Part, kParts>& a) {   \
    return Unrolled<Part, kParts>::of([&](int i) __attribute__((always_inline)) { \
      return operation(a.parts[i]);                                               \
    });                                                                           \
  }
#define NIBBLE_UNROLL_BINARY(operation)                                           \
  template <class Part, int kParts>                                               \
  NIBBLE_HD Unrolled<Part, kParts> operation(const Unrolled<Part, kParts>& a,     \
                                             const Unrolled<Part, kParts>& b) {   \
    return Unrolled<Part, kParts>::of([&](int i) __attribute__((always_inline)) { \
      return operation(a.parts[i], b.parts[i]);                                   \
    });                                                                           \
  }
#define NIBBLE_UNROLL_TERNARY(operation)                                          \
  template <class Part, int kParts>                                               \
  NIBBLE_HD Unrolled<Part, kParts> operation(const Unrolled<Part, kParts>& a,     \
                                             const Unrolled<Part, kParts>& b,     \
                                             const Unrolled<Part, kParts>& c) {   \
    return Unrolled<Part, kParts>::of([&](int i) __attribute__((always_inline)) { \
      return operation(a.parts[i], b.parts[i], c.parts[i]);                       \
    });                                                                           \
  }
NIBBLE_UNROLL_UNARY(magnitude)
NIBBLE_UNROLL_BINARY(add)
NIBBLE_UNROLL_BINARY(subtract)
NIBBLE_UNROLL_BINARY(multiply)
NIBBLE_UNROLL_BINARY(divide)
NIBBLE_UNROLL_BINARY(ordered_min)
NIBBLE_UNROLL_BINARY(ordered_max)
NIBBLE_UNROLL_BINARY(max_magnitude)
NIBBLE_UNROLL_TERNARY(fused_multiply_add)
NIBBLE_UNROLL_TERNARY(nan_clamp)
#undef NIBBLE_UNROLL_UNARY
#undef NIBBLE_UNROLL_BINARY
#undef NIBBLE_UNROLL_TERNARY

template <class T, class Part, int kParts>
NIBBLE_HD Unrolled<Part, kParts> round_to(const Unrolled<Part, kParts>& a) {
  return Unrolled<Part, kParts>::of([&](int i) __attribute__((always_inline)) {
    return round_to<T>(a.parts[i]);
  });
}

template <class Part, int kParts>
NIBBLE_HD Unrolled<Part, kParts> select(const typename Unrolled<Part, kParts>::Mask& condition,
                                        const Unrolled<Part, kParts>& a,
                                        const Unrolled<Part, kParts>& b) {
  return Unrolled<Part, kParts>::of([&](int i) __attribute__((always_inline)) {
    return select(condition.parts[i], a.parts[i], b.parts[i]);
  });
}
template <class Part, int kParts>
NIBBLE_HD auto within(const Unrolled<Part, kParts>& a, const Unrolled<Part, kParts>& low,
                      const Unrolled<Part, kParts>& high) {
  typename Unrolled<Part, kParts>::Mask result;
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) {
    result.parts[i] = within(a.parts[i], low.parts[i], high.parts[i]);
  }
  return result;
}
template <class Part, int kParts>
NIBBLE_HD auto is_nan(const Unrolled<Part, kParts>& a) {
  typename Unrolled<Part, kParts>::Mask result;
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) result.parts[i] = is_nan(a.parts[i]);
  return result;
}

template <class Part, int kParts>
NIBBLE_HD bool all_moderate(const Unrolled<Part, kParts>& a, float low, float high) {
  bool all = true;
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) all &= all_moderate(a.parts[i], low, high);
  return all;
}
/// The lanes of a register in which any part is NaN. One comparison sees two parts.
template <class Part, int kParts>
NIBBLE_HD typename Part::Mask any_nan(const Unrolled<Part, kParts>& a) {
  static_assert(kParts % 2 == 0);
  typename Part::Mask found = unordered(a.parts[0], a.parts[1]);
#pragma GCC unroll 4
  for (int i = 2; i < kParts; i += 2)
    found = Part::either(found, unordered(a.parts[i], a.parts[i + 1]));
  return found;
}

}  // namespace nibble::kernels::cpu
