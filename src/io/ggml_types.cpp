#include <nibble/io/ggml_types.h>
#include <nibble/numerics/float_types.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

// Block layouts: ggml-common.h of github.com/ggml-org/ggml. All fields are bytes, so a block may
// stand at any address; 16- and 32-bit fields are little-endian.
namespace nibble::io {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF data is little-endian");

constexpr int kBlock = 32;        // elements of a Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0 block
constexpr int kSuperBlock = 256;  // elements of a *_K block

/// A binary16 number in a block.
struct Half {
  uint8_t bytes[2];
  explicit operator float() const {
    return static_cast<float>(
        numerics::Float16::from_bits(static_cast<uint16_t>(bytes[0] | (bytes[1] << 8))));
  }
};

/// The fifth bits of 32 codes.
struct HighBits {
  uint8_t bytes[4];
  int bit(int i) const { return (bytes[i / 8] >> (i % 8)) & 1; }
};

/// Code `i` of 32 in 16 bytes: the low nibbles come first.
int code_of(const uint8_t (&codes)[kBlock / 2], int i) {
  return i < kBlock / 2 ? codes[i] & 0xf : codes[i - kBlock / 2] >> 4;
}

struct BlockQ4_0 {
  static constexpr int kElements = kBlock;
  Half scale;
  uint8_t codes[kBlock / 2];

  void dequantize(float* out) const {
    const float d(scale);
    for (int i = 0; i < kBlock; ++i) out[i] = d * static_cast<float>(code_of(codes, i) - 8);
  }
};

struct BlockQ4_1 {
  static constexpr int kElements = kBlock;
  Half scale, minimum;
  uint8_t codes[kBlock / 2];

  void dequantize(float* out) const {
    const float d(scale), m(minimum);
    for (int i = 0; i < kBlock; ++i) out[i] = d * static_cast<float>(code_of(codes, i)) + m;
  }
};

struct BlockQ5_0 {
  static constexpr int kElements = kBlock;
  Half scale;
  HighBits high;
  uint8_t codes[kBlock / 2];

  void dequantize(float* out) const {
    const float d(scale);
    for (int i = 0; i < kBlock; ++i) {
      out[i] = d * static_cast<float>((code_of(codes, i) | high.bit(i) << 4) - 16);
    }
  }
};

struct BlockQ5_1 {
  static constexpr int kElements = kBlock;
  Half scale, minimum;
  HighBits high;
  uint8_t codes[kBlock / 2];

  void dequantize(float* out) const {
    const float d(scale), m(minimum);
    for (int i = 0; i < kBlock; ++i) {
      out[i] = d * static_cast<float>(code_of(codes, i) | high.bit(i) << 4) + m;
    }
  }
};

struct BlockQ8_0 {
  static constexpr int kElements = kBlock;
  Half scale;
  int8_t codes[kBlock];

  void dequantize(float* out) const {
    const float d(scale);
    for (int i = 0; i < kBlock; ++i) out[i] = static_cast<float>(codes[i]) * d;
  }
};

/// Eight 6-bit scales and eight 6-bit minima in 12 bytes: the first four of each in the low six
/// bits of bytes 0..3 and 4..7; the others' low nibbles in bytes 8..11, their top bits above the
/// first.
struct PackedScales {
  uint8_t bytes[12];

  float scale(int group) const {
    return static_cast<float>(group < 4
                                  ? bytes[group] & 0x3f
                                  : (bytes[group + 4] & 0xf) | ((bytes[group - 4] >> 2) & 0x30));
  }
  float minimum(int group) const {
    return static_cast<float>(group < 4 ? bytes[group + 4] & 0x3f
                                        : (bytes[group + 4] >> 4) | ((bytes[group] >> 2) & 0x30));
  }
};

struct BlockQ4_K {
  static constexpr int kElements = kSuperBlock;
  Half scale, minimum;
  PackedScales scales;
  uint8_t codes[kSuperBlock / 2];

  void dequantize(float* out) const {
    for (int group = 0; group < 8; ++group) {
      const float d = static_cast<float>(scale) * scales.scale(group);
      const float m = static_cast<float>(minimum) * scales.minimum(group);
      for (int i = 0; i < 32; ++i) {
        const int code = (codes[group / 2 * 32 + i] >> (group % 2 * 4)) & 0xf;
        *out++ = d * static_cast<float>(code) - m;
      }
    }
  }
};

struct BlockQ5_K {
  static constexpr int kElements = kSuperBlock;
  Half scale, minimum;
  PackedScales scales;
  uint8_t high[kSuperBlock / 8];
  uint8_t codes[kSuperBlock / 2];

  void dequantize(float* out) const {
    for (int group = 0; group < 8; ++group) {
      const float d = static_cast<float>(scale) * scales.scale(group);
      const float m = static_cast<float>(minimum) * scales.minimum(group);
      for (int i = 0; i < 32; ++i) {
        const int low = (codes[group / 2 * 32 + i] >> (group % 2 * 4)) & 0xf;
        *out++ = d * static_cast<float>(low | ((high[i] >> group) & 1) << 4) - m;
      }
    }
  }
};

struct BlockQ6_K {
  static constexpr int kElements = kSuperBlock;
  uint8_t low[kSuperBlock / 2];
  uint8_t high[kSuperBlock / 4];
  int8_t scales[kSuperBlock / 16];
  Half scale;

  void dequantize(float* out) const {
    for (int group = 0; group < 8; ++group) {
      const int half = group / 4, quarter = group % 4;
      for (int i = 0; i < 32; ++i) {
        const float d = static_cast<float>(scale) * static_cast<float>(scales[group * 2 + i / 16]);
        const int bits = (low[half * 64 + quarter % 2 * 32 + i] >> (quarter / 2 * 4)) & 0xf;
        const int top = (high[half * 32 + i] >> (quarter * 2)) & 3;
        *out++ = d * static_cast<float>((bits | top << 4) - 32);
      }
    }
  }
};

template <class Block>
void dequantize_blocks(const std::byte* data, int64_t blocks, float* out) {
  for (int64_t i = 0; i < blocks; ++i) {
    Block block;
    std::memcpy(&block, data + i * static_cast<int64_t>(sizeof(Block)), sizeof(Block));
    block.dequantize(out + i * Block::kElements);
  }
}

void split_q8_0(const std::byte* data, int64_t blocks, int8_t* codes, float* scales) {
  for (int64_t i = 0; i < blocks; ++i) {
    BlockQ8_0 block;
    std::memcpy(&block, data + i * static_cast<int64_t>(sizeof(block)), sizeof(block));
    std::memcpy(codes + i * kBlock, block.codes, kBlock);
    scales[i] = static_cast<float>(block.scale);
  }
}

template <class Block, int64_t kBytes>
constexpr GgmlType quantized(uint32_t id, std::string_view name) {
  static_assert(sizeof(Block) == kBytes, "the block layout has padding");
  GgmlType type{id, name, Block::kElements, kBytes, std::nullopt, dequantize_blocks<Block>};
  if constexpr (std::is_same_v<Block, BlockQ8_0>) type.split_int8 = split_q8_0;
  return type;
}

constexpr GgmlType plain(uint32_t id, std::string_view name, DType dtype, int64_t bytes) {
  return {id, name, 1, bytes, dtype, nullptr};
}

constexpr std::array kTypes = {
    plain(0, "F32", DType::kF32, 4),       plain(1, "F16", DType::kF16, 2),
    plain(30, "BF16", DType::kBF16, 2),    quantized<BlockQ4_0, 18>(2, "Q4_0"),
    quantized<BlockQ4_1, 20>(3, "Q4_1"),   quantized<BlockQ5_0, 22>(6, "Q5_0"),
    quantized<BlockQ5_1, 24>(7, "Q5_1"),   quantized<BlockQ8_0, 34>(8, "Q8_0"),
    quantized<BlockQ4_K, 144>(12, "Q4_K"), quantized<BlockQ5_K, 176>(13, "Q5_K"),
    quantized<BlockQ6_K, 210>(14, "Q6_K"),
};

/// enum ggml_type; empty where a number was given back.
constexpr std::array<std::string_view, 42> kTypeNames = {
    "F32",     "F16",   "Q4_0",   "Q4_1",  "",      "",       "Q5_0", "Q5_1",    "Q8_0",
    "Q8_1",    "Q2_K",  "Q3_K",   "Q4_K",  "Q5_K",  "Q6_K",   "Q8_K", "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",   "I16",     "I32",
    "I64",     "F64",   "IQ1_M",  "BF16",  "",      "",       "",     "TQ1_0",   "TQ2_0",
    "",        "",      "",       "MXFP4", "NVFP4", "Q1_0",
};

}  // namespace

const GgmlType* find_ggml_type(uint32_t id) {
  for (const GgmlType& type : kTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

std::string ggml_type_name(uint32_t id) {
  if (id < kTypeNames.size() && !kTypeNames[id].empty()) return std::string(kTypeNames[id]);
  return "number " + std::to_string(id);
}

std::string supported_ggml_types() {
  std::string names;
  for (const GgmlType& type : kTypes) {
    names += (names.empty() ? "" : ", ") + std::string(type.name);
  }
  return names;
}

}  // namespace nibble::io
