#include "tile_packing.h"

#include <nibble/core/error.h>

#include <ATen/Functions.h>

#include <array>

namespace nibble::layouts {
namespace {

constexpr int64_t kLanes = 32;
constexpr int64_t kWords = 4;
constexpr int64_t kNibbles = 8;

/// The columns whose codes lie in nibbles 0 to 7 of a word, counted from the lane's first one. A
/// word spans two inner tiles of 16 columns.
constexpr std::array<int64_t, kNibbles> kColumnOfNibble = {0, 8, 16, 24, 1, 9, 17, 25};

/// Calls visit(row, column, word, nibble) for every code.
template <class Visit>
void for_each_code(int64_t rows, int64_t columns, const Visit& visit) {
  const int64_t column_tiles = columns / kTileColumns;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t tile = 0; tile < column_tiles; ++tile) {
      for (int64_t quad = 0; quad < 4; ++quad) {
        const int64_t lane = row % kTileRows * 4 + quad;
        const int64_t first = ((row / kTileRows * column_tiles + tile) * kLanes + lane) * kWords;
        for (int64_t word = 0; word < kWords; ++word) {
          const int64_t column = tile * kTileColumns + word * 32 + quad * 2;
          for (int64_t nibble = 0; nibble < kNibbles; ++nibble) {
            visit(row, column + kColumnOfNibble[static_cast<size_t>(nibble)], first + word, nibble);
          }
        }
      }
    }
  }
}

}  // namespace

at::Tensor pack_tiles(const at::Tensor& codes) {
  const int64_t rows = codes.size(0), columns = codes.size(1);
  NIBBLE_CHECK(
      codes.scalar_type() == at::kChar && rows % kTileRows == 0 && columns % kTileColumns == 0,
      "tiles need int8 codes of a multiple of 8 rows and 128 columns, got ", codes.scalar_type(),
      " ", codes.sizes());
  const at::Tensor dense = codes.contiguous();
  const int8_t* code = dense.const_data_ptr<int8_t>();
  at::Tensor tiles =
      at::zeros({rows / kTileRows, columns / kTileColumns, kLanes, kWords}, at::kInt);
  int32_t* words = tiles.mutable_data_ptr<int32_t>();
  for_each_code(rows, columns, [&](int64_t row, int64_t column, int64_t word, int64_t nibble) {
    const auto value = static_cast<uint32_t>(code[row * columns + column] & 0xf);
    words[word] |= static_cast<int32_t>(value << (4 * nibble));
  });
  return tiles;
}

at::Tensor unpack_tiles(const at::Tensor& tiles) {
  NIBBLE_CHECK(tiles.dim() == 4 && tiles.scalar_type() == at::kInt && tiles.size(2) == kLanes &&
                   tiles.size(3) == kWords,
               "tiles must be int32 [rows / 8, columns / 128, 32, 4], got ", tiles.scalar_type(),
               " ", tiles.sizes());
  const at::Tensor dense = tiles.contiguous();
  const int32_t* words = dense.const_data_ptr<int32_t>();
  const int64_t rows = tiles.size(0) * kTileRows, columns = tiles.size(1) * kTileColumns;
  at::Tensor codes = at::empty({rows, columns}, at::kChar);
  int8_t* code = codes.mutable_data_ptr<int8_t>();
  for_each_code(rows, columns, [&](int64_t row, int64_t column, int64_t word, int64_t nibble) {
    const auto bits = static_cast<uint32_t>(words[word]) >> (4 * nibble);
    code[row * columns + column] = static_cast<int8_t>(bits & 0xf);
  });
  return codes;
}

}  // namespace nibble::layouts
