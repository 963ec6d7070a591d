#pragma once

#include <nibble/kernels/int8_linear.h>
#include <nibble/numerics/pack_int4.h>

#include "prefetch.h"

/// What int8_linear_simd.h multiplies: packed rows, unpacked so that they lie in the lanes of W's
/// registers.
///
/// Whatever is instantiated here must depend on W or be always inlined, see host_device.h.
namespace nibble::kernels::cpu {

/// Four packed bytes of a row, eight codes: a step. Its even columns come first, then the odd ones.
inline constexpr int64_t kStepColumns = 8;
inline constexpr int64_t kStepBytes = 4;
inline constexpr int kHalves = 2;

/// Unpacked rows in the scratch; kVectors registers of rows lie side by side.
template <class W>
struct Tile {
  static constexpr int64_t kRows = W::kVectors * W::kLanes;
  static_assert(kInt8LinearTileRows % kRows == 0);

  NIBBLE_HD Tile(const GroupedMatrix& m, void* scratch)
      : steps(m.cols / kStepColumns),
        group_steps(m.group_size / kStepColumns),
        groups(m.cols / m.group_size),
        codes(static_cast<int8_t*>(scratch)),
        code_sums(reinterpret_cast<int32_t*>(codes + kRows * m.cols)),
        scales(reinterpret_cast<float*>(code_sums + kRows * groups)) {}

  NIBBLE_HD int8_t* codes_at(int64_t step, int half, int vector) const {
    return codes + ((step * kHalves + half) * W::kVectors + vector) * W::kLanes * kStepBytes;
  }
  /// Two 16-bit halves a lane, see negated_offset().
  NIBBLE_HD int32_t* code_sums_at(int64_t group, int vector) const {
    return code_sums + (group * W::kVectors + vector) * W::kLanes;
  }
  NIBBLE_HD float* scales_at(int64_t group, int vector) const {
    return scales + (group * W::kVectors + vector) * W::kLanes;
  }

  int64_t steps;
  int64_t group_steps;
  int64_t groups;
  int8_t* codes;
  int32_t* code_sums;
  float* scales;
};

/// A group's sum of codes has up to 23 bits. W::split() makes two 16-bit halves of it, so that
/// their products with the halves of this take zero point times sum away in one instruction:
/// -(z + 128) in the lower half, -128 times as much in the upper one.
NIBBLE_HD uint32_t negated_offset(float zero) {
  const int offset = 128 + (zero == zero ? static_cast<int>(zero) : 0);  // NaN: any integer will do
  return static_cast<uint32_t>(-128 * offset) << 16 | (static_cast<uint32_t>(-offset) & 0xffffu);
}

/// The address of each lane's row; lanes beyond the last row repeat it.
template <class W, class T>
struct RowPointers {
  NIBBLE_HD RowPointers(const T* base, int64_t stride, int64_t first, int64_t end)
      : ahead(W::kLanes * stride) {
    for (int64_t i = 0; i < W::kLanes; ++i) {
      rows[i] = base + (first + i < end ? first + i : end - 1) * stride;
    }
  }
  const T* rows[W::kLanes];
  int64_t ahead;  ///< elements from these rows to the next ones
};

/// Calls body(step, even codes, odd codes) for each step of `steps`, the lanes being rows.
template <class W, class Body>
NIBBLE_HD void for_each_step(const RowPointers<W, uint8_t>& packed, int64_t steps, Body&& body) {
  using Register = typename W::Register;
  for (int64_t first = 0; first < steps; first += W::kLanes) {
    const int64_t count = steps - first < W::kLanes ? steps - first : W::kLanes;
    Register bytes[W::kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < W::kLanes; ++i) {
      const uint8_t* address = packed.rows[i] + first * kStepBytes;
      prefetch_weights(address + packed.ahead);
      bytes[i] = W::load(address, count);
    }
    W::transpose(bytes);
    const auto visit = [&](int64_t i) {
      body(first + i, W::low_codes(bytes[i]), W::high_codes(bytes[i]));
    };
    if (count == W::kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < W::kLanes; ++i) visit(i);
    } else {
      for (int64_t i = 0; i < count; ++i) visit(i);
    }
  }
}

template <class W>
NIBBLE_HD void unpack_codes(const Tile<W>& tile, int vector,
                            const RowPointers<W, uint8_t>& packed) {
  using Register = typename W::Register;
  const Register ones = W::broadcast(0x01010101u);
  Register sum = W::zero();
  int64_t group = 0, left_in_group = tile.group_steps;
  for_each_step<W>(packed, tile.steps, [&](int64_t step, Register even, Register odd) {
    W::store(even, tile.codes_at(step, 0, vector));
    W::store(odd, tile.codes_at(step, 1, vector));
    sum = W::dot_bytes(W::dot_bytes(sum, ones, even), ones, odd);
    if (--left_in_group > 0) return;
    W::store(W::split(sum), tile.code_sums_at(group++, vector));
    sum = W::zero();
    left_in_group = tile.group_steps;
  });
}

template <class W, class S>
NIBBLE_HD void unpack_scales(const Tile<W>& tile, int vector, const Int8LinearParams& p,
                             int64_t row, int64_t row_end) {
  const RowPointers<W, S> scales(static_cast<const S*>(p.scales), tile.groups, row, row_end);
  for (int64_t first = 0; first < tile.groups; first += W::kLanes) {
    const int64_t count = tile.groups - first < W::kLanes ? tile.groups - first : W::kLanes;
    typename W::Register groups[W::kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < W::kLanes; ++i) {
      groups[i] = W::load_as_floats(scales.rows[i] + first, count);
    }
    W::transpose(groups);
    for (int64_t i = 0; i < count; ++i) W::store(groups[i], tile.scales_at(first + i, vector));
  }
}

template <class W>
NIBBLE_HD RowPointers<W, uint8_t> packed_rows(const Int8LinearParams& p, int64_t row,
                                              int64_t row_end) {
  return {p.packed_codes, numerics::packed_row_bytes(p.weight.cols), row, row_end};
}

template <class W, class S>
NIBBLE_HD void unpack(const Tile<W>& tile, const Int8LinearParams& p, int64_t row,
                      int64_t row_end) {
  for (int vector = 0; vector < W::kVectors; ++vector) {
    const int64_t first = row + vector * W::kLanes;
    unpack_codes<W>(tile, vector, packed_rows<W>(p, first, row_end));
    unpack_scales<W, S>(tile, vector, p, first, row_end);
  }
}

}  // namespace nibble::kernels::cpu
