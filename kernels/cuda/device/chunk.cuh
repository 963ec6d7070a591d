#pragma once

#include <nibble/kernels/fake_quant.h>

#include "bfloat16x2.cuh"

/// What a thread reads and writes at once: a few consecutive elements in pieces of up to 16 bytes,
/// to whose size addresses are aligned. Neither loads nor stores carry a cache hint: the streaming
/// ones cost up to a tenth of the rate on an H200.
namespace nibble::kernels::cuda {

/// How kernels hold the elements of a D matrix under scales S: `Storage` in registers, `Math` for
/// the formulas, which numerics/grids.h has once for all of them.
template <class D, class S>
struct Lanes {
  using Storage = float;
  using Math = float;
};
template <>
struct Lanes<BFloat16, BFloat16> {
  using Storage = BFloat16x2;
  using Math = BFloat16x2;
};
/// Codes and scales are exact in bfloat16 here too, so that dequantization needs no float.
template <>
struct Lanes<BFloat16, float> {
  using Storage = BFloat16x2;
  using Math = FloatPair;
};

/// `elements` of them in lanes of type V.
template <class V, int elements>
struct Chunk {
  static constexpr int kElements = elements;
  static constexpr int kSize = std::is_same_v<V, BFloat16x2> ? elements / 2 : elements;
  V lanes[kSize];
};

/// Its in-range bits make one byte.
constexpr int kOctet = 8;
template <class V>
using Octet = Chunk<V, kOctet>;

template <int bytes>
struct alignas(bytes < 16 ? bytes : 16) Words {
  static constexpr int kSize = bytes / 4;
  uint32_t words[kSize];
};
template <class T, int elements>
using WordsOf = Words<elements* static_cast<int>(sizeof(T))>;

/// The elements of type T in a word, the first in the lowest bits.
template <class T>
__device__ __forceinline__ void unpack(uint32_t word, float* lanes) {
  if constexpr (std::is_same_v<T, float>) {
    lanes[0] = numerics::float_from_bits(word);
  } else if constexpr (std::is_same_v<T, int8_t>) {
    // 2^23 + 128 + code: a conversion takes eight times as long as either of these steps.
    const uint32_t shifted = word ^ 0x80808080u;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t bits = __byte_perm(shifted, 0x4b000000u, 0x7440u + i);
      lanes[i] = numerics::subtract(numerics::float_from_bits(bits), 8388608.0f + 128.0f);
    }
  } else {
    lanes[0] = static_cast<float>(T::from_bits(static_cast<uint16_t>(word & 0xffffu)));
    lanes[1] = static_cast<float>(T::from_bits(static_cast<uint16_t>(word >> 16)));
  }
}

/// A code as an integer; NaN becomes 0.
__device__ __forceinline__ int code_to_int(float code) { return __float2int_rn(code); }

/// Floats as a word of T: rounded to it, codes to integers.
template <class T>
__device__ __forceinline__ uint32_t word_of(const float* lanes) {
  if constexpr (std::is_same_v<T, float>) {
    return numerics::float_bits(lanes[0]);
  } else if constexpr (std::is_same_v<T, int8_t>) {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) {
      const auto byte = static_cast<uint8_t>(code_to_int(lanes[i]));
      word |= static_cast<uint32_t>(byte) << (8 * i);
    }
    return word;
  } else {
    return pack<T>(lanes[0], lanes[1]);
  }
}

template <class T, int elements>
__device__ __forceinline__ void load(const T* source, Chunk<float, elements>& chunk) {
  constexpr int kPerWord = 4 / sizeof(T);
  const auto data = *reinterpret_cast<const WordsOf<T, elements>*>(source);
  for (int i = 0; i < data.kSize; ++i) unpack<T>(data.words[i], chunk.lanes + i * kPerWord);
}
template <int elements>
__device__ __forceinline__ void load(const BFloat16* source, Chunk<BFloat16x2, elements>& chunk) {
  const auto data = *reinterpret_cast<const WordsOf<BFloat16, elements>*>(source);
  for (int i = 0; i < data.kSize; ++i) chunk.lanes[i].word = data.words[i];
}

/// A plain store that the optimizer cannot look into: where it can, it copies the kernels' loops
/// for every combination of null outputs, and spills registers.
template <int bytes>
__device__ __forceinline__ void write(const Words<bytes>& data, void* target) {
  const uint32_t* w = data.words;
  const size_t address = __cvta_generic_to_global(target);
  if constexpr (bytes == 4) {
    asm volatile("st.global.b32 [%0], %1;" ::"l"(address), "r"(w[0]) : "memory");
  } else if constexpr (bytes == 8) {
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(address), "r"(w[0]), "r"(w[1])
                 : "memory");
  } else {
    for (int i = 0; i < data.kSize; i += 4) {
      asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(address + 4 * i), "r"(w[i]),
                   "r"(w[i + 1]), "r"(w[i + 2]), "r"(w[i + 3])
                   : "memory");
    }
  }
}

/// The chunk rounded to T.
template <class T, int elements>
__device__ __forceinline__ WordsOf<T, elements> words_of(const Chunk<float, elements>& chunk) {
  constexpr int kPerWord = 4 / sizeof(T);
  WordsOf<T, elements> data;
  for (int i = 0; i < data.kSize; ++i) data.words[i] = word_of<T>(chunk.lanes + i * kPerWord);
  return data;
}

template <class T, int elements>
__device__ __forceinline__ void store(const Chunk<float, elements>& chunk, T* target) {
  write(words_of<T>(chunk), target);
}
template <class T, int elements>
__device__ __forceinline__ void store(const Chunk<BFloat16x2, elements>& chunk, T* target) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    WordsOf<T, elements> data;
    for (int i = 0; i < data.kSize; ++i) data.words[i] = chunk.lanes[i].word;
    write(data, target);
  } else {
    Chunk<float, elements> wide;
    for (int i = 0; i < chunk.kSize; ++i) {
      unpack<BFloat16>(chunk.lanes[i].word, wide.lanes + 2 * i);
    }
    store(wide, target);
  }
}

/// Codes minus `smallest` as four bits each (numerics/pack_int4.h); a NaN's code is 0.
__device__ __forceinline__ void store_nibbles(const Octet<float>& codes, int smallest,
                                              uint8_t* target) {
  Words<4> data{};
  for (int i = 0; i < kOctet; ++i) {
    data.words[0] |= static_cast<uint32_t>(code_to_int(codes.lanes[i]) - smallest) << (4 * i);
  }
  write(data, target);
}
__device__ __forceinline__ void store_nibbles(const Octet<BFloat16x2>& codes, int smallest,
                                              uint8_t* target) {
  Octet<float> wide;
  for (int i = 0; i < codes.kSize; ++i) {
    unpack<BFloat16>(codes.lanes[i].word, wide.lanes + 2 * i);
  }
  store_nibbles(wide, smallest, target);
}

/// Stores at `index` of a buffer whose element type is only known at run time.
template <class V>
__device__ __forceinline__ void store(const Octet<V>& octet, DType dtype, void* target,
                                      int64_t index) {
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
