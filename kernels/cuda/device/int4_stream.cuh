#pragma once

#include "../../grid_dispatch.h"
#include "async_copy.cuh"
#include "int4_products.cuh"

/// Products with few tokens: how they are cut, and how the weight streams through shared memory.
///
/// A block takes neighbouring row tiles of one weight. Each of its warps keeps the same columns of
/// the input from the first tile to the last, and copies its codes some tiles ahead.
namespace nibble::kernels::cuda {

constexpr int kTileRows = 16;  ///< of the weight in a tensor core's tile
constexpr int kTileTokens = 8;
constexpr int kChunkUnits = 4;
constexpr int kChunkColumns = kChunkUnits * kUnit;
constexpr int kChunkOctets = kChunkColumns / kOctet;
constexpr int kStreamWarps = 16;                                           ///< of a block, at most
constexpr uint32_t kChunkBytes = kTileRows * kChunkUnits * sizeof(uint4);  ///< codes of a row tile

/// Up to `tokens` tokens, 1 or a multiple of 8. A warp holds `chunks` chunks of columns and has
/// `slots` row tiles under way; `blocks` share a multiprocessor.
template <int tokens, int chunks, int slots, int blocks>
struct StreamCut {
  static constexpr int kTokens = tokens;
  static constexpr int kTokenTiles = (tokens + kTileTokens - 1) / kTileTokens;
  static constexpr int kChunks = chunks;
  static constexpr int kSlots = slots;
  static constexpr int kBlocks = blocks;
  static constexpr int kThreads = kStreamWarps * kWarp;  ///< at most
  /// One token is the same for all lanes that multiply rows: registers would hold it eight times.
  static constexpr bool kSharesInput = tokens == 1;

  static constexpr uint32_t kSlotBytes = chunks * kChunkBytes;
  static constexpr uint32_t kRingBytes = slots * kSlotBytes;
  static constexpr uint32_t kInputBytes = kSharesInput ? chunks * kChunkOctets * sizeof(uint4) : 0;
  /// Sums of a warp for a row tile: [token][row], padded: lanes write to different banks.
  static constexpr uint32_t kSumStride = kTileRows + 4;
  static constexpr uint32_t kSums = tokens * kSumStride;
};

/// What is the same for all blocks of a launch. In shared memory lie the input row if it is
/// made here, the grids (scales, then zeros), the rings of the warps, their inputs and their sums.
struct StreamPlan {
  uint32_t warps_across;    ///< with different columns
  uint32_t warps_down;      ///< that take turns at the row tiles
  uint32_t passes;          ///< through the columns, each over all of a block's row tiles
  uint32_t section_tiles;   ///< row tiles whose sums are kept before the warps' are added
  uint32_t grid_row_bytes;  ///< scales of a row in shared memory
  uint32_t grid_bytes;      ///< scales of all rows of a block
  Divider row_pieces;       ///< pieces of 16 bytes after which there is a gap of one
  bool lets_next_begin_first;
  bool waits_first;  ///< before the weight is read
};

/// The rows of a block, and the warp's place among the others.
struct StreamBlock {
  const Int4Product& product;
  uint32_t first_row, rows, tiles;
  uint32_t warp_row, warp_column;

  __device__ static StreamBlock here(const Int4Products& p, const StreamPlan& plan) {
    const Int4Product& product = product_of_block(p, blockIdx.x);
    const uint32_t block = blockIdx.x - product.first_block;
    const uint32_t tiles = product.block_tiles + (block < product.longer_blocks ? 1 : 0);
    const uint32_t first_row =
        (block * product.block_tiles + min(block, product.longer_blocks)) * kTileRows;
    const uint32_t warp = threadIdx.x / kWarp, warp_row = warp / plan.warps_across;
    return {product, first_row, min(product.rows - first_row, tiles * kTileRows),
            tiles,   warp_row,  warp - warp_row * plan.warps_across};
  }
  /// The first chunk of the warp's in a pass.
  template <class Cut>
  __device__ uint32_t chunk(const StreamPlan& plan, uint32_t pass) const {
    return (pass * plan.warps_across + warp_column) * Cut::kChunks;
  }
};

/// The codes of the warp's next row tiles. Each lane copies what it will multiply itself, 16 bytes
/// of rows g and g + 8 for each chunk, so lanes need not wait for each other. Rows and columns
/// beyond the last repeat that one: such sums are never stored, such columns of the input are
/// zeros.
template <class Cut>
class CodeRing {
 public:
  __device__ CodeRing(const StreamBlock& block, const StreamPlan& plan, const Int4Columns& columns,
                      uint4* slots)
      : block_(block),
        plan_(plan),
        units_(columns.units),
        rows_(reinterpret_cast<const char*>(block.product.codes +
                                            uint64_t{block.first_row} * columns.units)),
        slots_(slots + threadIdx.x / kWarp * (Cut::kRingBytes / sizeof(uint4)) +
               threadIdx.x % kWarp) {
    begin_pass();
#pragma unroll
    for (int slot = 0; slot < Cut::kSlots; ++slot) copy_next();
  }

  /// Codes of the oldest row tile under way.
  __device__ __forceinline__ void read(uint4 (&codes)[Cut::kChunks][2]) const {
    wait_for_copy_groups<Cut::kSlots - 1>();
#pragma unroll
    for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        codes[chunk][half] = slots_[(slot_ + chunk * kChunkBytes) / sizeof(uint4) + half * kWarp];
      }
    }
  }

  /// Copies another tile to where the oldest was. All lanes of the warp call it equally often.
  __device__ __forceinline__ void replace() {
    slot_ = next_slot(slot_);
    copy_next();
  }

 private:
  __device__ static uint32_t next_slot(uint32_t slot) {
    return slot == Cut::kRingBytes - Cut::kSlotBytes ? 0 : slot + Cut::kSlotBytes;
  }

  __device__ __forceinline__ void begin_pass() {
    const uint32_t g = threadIdx.x % kWarp / 4;
    const uint32_t first = block_.chunk<Cut>(plan_, pass_) * kChunkUnits + threadIdx.x % 4;
    const uint32_t unit = min(first, units_ - 1), row_bytes = units_ * sizeof(uint4);
#pragma unroll
    for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
      chunk_offset_[chunk] = (min(first + chunk * kChunkUnits, units_ - 1) - unit) * sizeof(uint4);
    }
    offset_ = (block_.warp_row * kTileRows + g) * row_bytes + unit * sizeof(uint4);
    last_offset_ = (block_.rows - 1) * row_bytes + unit * sizeof(uint4);
    tiles_left_ = pass_ < plan_.passes && block_.warp_row < block_.tiles
                      ? (block_.tiles - block_.warp_row + plan_.warps_down - 1) / plan_.warps_down
                      : 0;
    ++pass_;
  }

  __device__ __forceinline__ void copy_next() {
    if (tiles_left_ > 0) {
      const uint32_t tile_bytes = kTileRows * units_ * sizeof(uint4);
      const char* from[2] = {rows_ + min(offset_, last_offset_),
                             rows_ + min(offset_ + tile_bytes / 2, last_offset_)};
      const uint32_t to = shared_address(slots_) + copy_slot_;
#pragma unroll
      for (int chunk = 0; chunk < Cut::kChunks; ++chunk) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          copy_async(to + chunk * kChunkBytes + half * (kChunkBytes / 2),
                     from[half] + (chunk == 0 ? 0 : chunk_offset_[chunk]));
        }
      }
      offset_ += plan_.warps_down * tile_bytes;
      copy_slot_ = next_slot(copy_slot_);
      if (--tiles_left_ == 0) begin_pass();
    }
    end_copy_group();  // an empty one too: they are counted
  }

  const StreamBlock& block_;
  const StreamPlan& plan_;
  uint32_t units_;
  const char* rows_;
  const uint4* slots_;
  uint32_t slot_ = 0, copy_slot_ = 0;  ///< offsets in bytes
  uint32_t pass_ = 0, tiles_left_;
  uint32_t offset_, last_offset_;  ///< of rows, in bytes
  uint32_t chunk_offset_[Cut::kChunks];
};

/// The scales and zeros of all of a block's rows, as they lie in memory: those rows are neighbours.
template <class S, class Grid>
class GridTable {
 public:
  __device__ GridTable(const StreamPlan& plan, void* table)
      : row_bytes_(plan.grid_row_bytes),
        zeros_(plan.grid_bytes),
        target_(static_cast<char*>(table)),
        table_(shared_address(table)) {}

  /// Begins to copy them: a group of its own. All threads of the block call it.
  __device__ void copy(const StreamBlock& block, const StreamPlan& plan, uint32_t groups) const {
    copy(block.product.scales, target_, block, plan, groups);
    if (!Grid::kIsSymmetric) copy(block.product.zeros, target_ + zeros_, block, plan, groups);
    end_copy_group();
  }

  /// Where row `row` keeps what belongs to a group.
  __device__ uint32_t place(uint32_t row, uint32_t group) const {
    return table_ + row * row_bytes_ + group * static_cast<uint32_t>(sizeof(S));
  }
  __device__ uint32_t rows_bytes(uint32_t rows) const { return rows * row_bytes_; }
  __device__ float scale(uint32_t place) const { return load(place); }
  __device__ float zero(uint32_t place) const {
    return Grid::kIsSymmetric ? 0.0f : load(place + zeros_);
  }

 private:
  __device__ static void copy(const void* source, char* to, const StreamBlock& block,
                              const StreamPlan& plan, uint32_t groups) {
    constexpr uint32_t kPiece = 16;
    const uint32_t row_bytes = groups * sizeof(S), bytes = block.rows * row_bytes;
    const char* from = static_cast<const char*>(source) + uint64_t{block.first_row} * row_bytes;
    for (uint32_t piece = threadIdx.x; piece * kPiece < bytes; piece += blockDim.x) {
      const uint32_t offset = (piece + plan.row_pieces.quotient(piece)) * kPiece;
      if ((piece + 1) * kPiece <= bytes) {
        copy_async(shared_address(to) + offset, from + piece * kPiece);
      } else {  // nothing behind the last row is read
        for (uint32_t i = 0; i < bytes % kPiece; ++i) to[offset + i] = from[piece * kPiece + i];
      }
    }
  }

  __device__ static float load(uint32_t address) {
    if constexpr (std::is_same_v<S, float>) {
      float value;
      asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
      return value;
    } else {
      uint16_t bits;
      asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(address) : "memory");
      return static_cast<float>(S::from_bits(bits));
    }
  }

  uint32_t row_bytes_, zeros_;
  char* target_;
  uint32_t table_;  ///< the same as an address of shared memory
};

}  // namespace nibble::kernels::cuda
