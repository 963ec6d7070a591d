#pragma once

#include <nibble/kernels/fake_quant.h>
#include <nibble/numerics/float_types.h>

/// Eight consecutive elements, whose in-range bits make one byte: what a thread reads and writes at
/// once, in 16-byte pieces. Addresses are aligned to 16 bytes (codes: 8).
namespace nibble::kernels::cuda {

using numerics::BFloat16;
using numerics::Float16;

constexpr int kOctet = 8;

/// The elements of an octet as floats.
struct Octet {
  float values[kOctet];
};

__device__ inline void load(const float* source, Octet& octet) {
  const auto* parts = reinterpret_cast<const float4*>(source);
  *reinterpret_cast<float4*>(octet.values) = parts[0];
  *reinterpret_cast<float4*>(octet.values + 4) = parts[1];
}

/// The two 16-bit elements of a word, the first in the lower half.
template <class T>
__device__ inline void unpack(uint32_t word, float* pair) {
  pair[0] = static_cast<float>(T::from_bits(static_cast<uint16_t>(word & 0xffffu)));
  pair[1] = static_cast<float>(T::from_bits(static_cast<uint16_t>(word >> 16)));
}

template <class T>
__device__ inline void load(const T* source, Octet& octet) {
  const uint4 words = *reinterpret_cast<const uint4*>(source);
  unpack<T>(words.x, octet.values);
  unpack<T>(words.y, octet.values + 2);
  unpack<T>(words.z, octet.values + 4);
  unpack<T>(words.w, octet.values + 6);
}

__device__ inline void load(const int8_t* source, Octet& octet) {
  const uint2 words = *reinterpret_cast<const uint2*>(source);
  for (int i = 0; i < 4; ++i) {
    octet.values[i] = static_cast<float>(static_cast<int8_t>(words.x >> (8 * i)));
    octet.values[i + 4] = static_cast<float>(static_cast<int8_t>(words.y >> (8 * i)));
  }
}

/// Two floats rounded to T in one instruction, `first` in the lower half.
template <class T>
__device__ inline uint32_t pack(float first, float second);
template <>
__device__ inline uint32_t pack<BFloat16>(float first, float second) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}
template <>
__device__ inline uint32_t pack<Float16>(float first, float second) {
  uint32_t word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}

__device__ inline void store(const Octet& octet, float* target) {
  auto* parts = reinterpret_cast<float4*>(target);
  parts[0] = *reinterpret_cast<const float4*>(octet.values);
  parts[1] = *reinterpret_cast<const float4*>(octet.values + 4);
}

template <class T>
__device__ inline void store(const Octet& octet, T* target) {
  const float* v = octet.values;
  *reinterpret_cast<uint4*>(target) = make_uint4(pack<T>(v[0], v[1]), pack<T>(v[2], v[3]),
                                                 pack<T>(v[4], v[5]), pack<T>(v[6], v[7]));
}

/// A code as an integer; NaN becomes 0.
__device__ inline int code_to_int(float code) { return __float2int_rn(code); }

__device__ inline void store(const Octet& octet, int8_t* target) {
  uint32_t words[2] = {0, 0};
  for (int i = 0; i < kOctet; ++i) {
    const auto byte = static_cast<uint8_t>(code_to_int(octet.values[i]));
    words[i / 4] |= static_cast<uint32_t>(byte) << (8 * (i % 4));
  }
  *reinterpret_cast<uint2*>(target) = make_uint2(words[0], words[1]);
}

/// Stores at `index` of a buffer whose element type is only known at run time.
__device__ inline void store(const Octet& octet, DType dtype, void* target, int64_t index) {
  if (dtype == DType::kFloat32) {
    store(octet, static_cast<float*>(target) + index);
  } else if (dtype == DType::kBFloat16) {
    store(octet, static_cast<BFloat16*>(target) + index);
  } else {
    store(octet, static_cast<Float16*>(target) + index);
  }
}

/// One element of such a buffer.
__device__ inline void store(float value, DType dtype, void* target, int64_t index) {
  if (dtype == DType::kFloat32) {
    static_cast<float*>(target)[index] = value;
  } else if (dtype == DType::kBFloat16) {
    static_cast<BFloat16*>(target)[index] = BFloat16(value);
  } else {
    static_cast<Float16*>(target)[index] = Float16(value);
  }
}

}  // namespace nibble::kernels::cuda
