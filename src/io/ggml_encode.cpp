#include <nibble/core/error.h>
#include <nibble/io/ggml_encode.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nibble::io {
namespace {

constexpr size_t kHalf = kGgmlBlock / 2;

void put_scale(std::byte* block, numerics::Float16 scale) {
  const uint16_t bits = scale.bits;
  std::memcpy(block, &bits, sizeof(bits));
}

void check_whole_blocks(size_t elements) {
  NIBBLE_CHECK(elements % kGgmlBlock == 0, elements, " elements do not divide into blocks of ",
               kGgmlBlock);
}

void check_a_scale_each(size_t codes, size_t scales) {
  check_whole_blocks(codes);
  NIBBLE_CHECK(codes / kGgmlBlock == scales, codes, " codes need ", codes / kGgmlBlock,
               " scales, got ", scales);
}

}  // namespace

std::vector<std::byte> encode_q4_0(std::span<const int8_t> codes,
                                   std::span<const numerics::Float16> scales) {
  constexpr size_t kBytes = sizeof(uint16_t) + kHalf;
  check_a_scale_each(codes.size(), scales.size());
  std::vector<std::byte> out(scales.size() * kBytes);
  for (size_t i = 0; i < scales.size(); ++i) {
    std::byte* block = out.data() + i * kBytes;
    const int8_t* code = codes.data() + i * kGgmlBlock;
    put_scale(block, scales[i]);
    for (size_t j = 0; j < kHalf; ++j) {
      block[sizeof(uint16_t) + j] =
          static_cast<std::byte>((code[j] + 8) | ((code[j + kHalf] + 8) << 4));
    }
  }
  return out;
}

std::vector<std::byte> encode_q8_0(std::span<const int8_t> codes,
                                   std::span<const numerics::Float16> scales) {
  constexpr size_t kBytes = sizeof(uint16_t) + kGgmlBlock;
  check_a_scale_each(codes.size(), scales.size());
  std::vector<std::byte> out(scales.size() * kBytes);
  for (size_t i = 0; i < scales.size(); ++i) {
    std::byte* block = out.data() + i * kBytes;
    put_scale(block, scales[i]);
    std::memcpy(block + sizeof(uint16_t), codes.data() + i * kGgmlBlock, kGgmlBlock);
  }
  return out;
}

std::vector<std::byte> quantize_q8_0(std::span<const float> values) {
  constexpr size_t kBytes = sizeof(uint16_t) + kGgmlBlock;
  check_whole_blocks(values.size());
  std::vector<std::byte> out(values.size() / kGgmlBlock * kBytes);
  for (size_t i = 0; i < values.size() / kGgmlBlock; ++i) {
    std::byte* block = out.data() + i * kBytes;
    const float* value = values.data() + i * kGgmlBlock;
    float magnitude = 0.0f;
    for (int64_t j = 0; j < kGgmlBlock; ++j) magnitude = std::max(magnitude, std::abs(value[j]));
    const float scale = magnitude / 127.0f;
    const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    put_scale(block, numerics::Float16(scale));
    for (int64_t j = 0; j < kGgmlBlock; ++j) {
      block[sizeof(uint16_t) + static_cast<size_t>(j)] =
          static_cast<std::byte>(static_cast<int8_t>(std::round(value[j] * inverse)));
    }
  }
  return out;
}

}  // namespace nibble::io
