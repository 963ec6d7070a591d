#pragma once

#include <nibble/core/host_device.h>

#include <cstdint>
#include <optional>

/// The launch interface of the fake-quantization kernels: plain structs of raw pointers. Shapes and
/// dtypes are checked by the caller (ops/); kernels never allocate and never synchronise, and take
/// empty input.
namespace nibble::kernels {

enum class DType : uint8_t { kFloat32, kBFloat16, kFloat16 };

/// Which grid of numerics/grids.h.
enum class GridKind : uint8_t {
  kSymmetricInt4,   ///< weights of 8da4w and symmetric 4w; scales in `scale_dtype`
  kAffineInt4,      ///< weights of asymmetric 4w; scales and zeros in bfloat16
  kAsymmetricInt8,  ///< activations of 8da4w; scales and zeros in float32
};

/// A row-major matrix cut into groups of `group_size` consecutive columns, one grid a group.
/// For per-token activations a row is a token and group_size == cols.
struct GroupedMatrix {
  GridKind grid = GridKind::kSymmetricInt4;
  DType dtype = DType::kFloat32;        ///< of the matrix: the D of the formulas
  DType scale_dtype = DType::kFloat32;  ///< of scales and zeros: the S of the formulas
  int64_t rows = 0;
  int64_t cols = 0;        ///< a multiple of group_size
  int64_t group_size = 1;  ///< > 0
};

/// Bytes of one row of in-range bits: bit c % 8 of byte c / 8 belongs to column c.
NIBBLE_HD constexpr int64_t mask_row_bytes(int64_t cols) { return (cols + 7) / 8; }

/// Forward. Every output may be null.
struct FakeQuantParams {
  GroupedMatrix matrix;
  const void* input = nullptr;  ///< [rows, cols], dtype; rows `input_row_stride` elements apart
  int64_t input_row_stride = 0;
  DType output_dtype =
      DType::kFloat32;      ///< the fake-quantized value, exact in dtype, rounded to this
  void* output = nullptr;   ///< [rows, cols], output_dtype
  void* scales = nullptr;   ///< [rows, cols / group_size], scale_dtype
  void* zeros = nullptr;    ///< [rows, cols / group_size], scale_dtype
  int8_t* codes = nullptr;  ///< [rows, cols]; a NaN's code is 0
  uint8_t* packed_codes =
      nullptr;  ///< [rows, packed_row_bytes(cols)], numerics/pack_int4.h; of the int4 grids only
  uint8_t* in_range = nullptr;  ///< [rows, mask_row_bytes(cols)], 1 where the gradient passes
};

/// Straight-through backward: grad_input = grid.gradient(grad_output, in_range), exact in dtype,
/// then rounded to grad_input_dtype. Empty gradient dtypes are the matrix's; a float32 matrix (the
/// master weight of a bfloat16 computation) also takes a bfloat16 grad_output and gives either of
/// the two. Any other pair is an error.
struct FakeQuantBackwardParams {
  GroupedMatrix matrix;
  const void* grad_output = nullptr;  ///< [rows, cols], grad_output_dtype; contiguous
  const void* scales = nullptr;       ///< [rows, cols / group_size], scale_dtype, of the forward
  const uint8_t* in_range = nullptr;  ///< of the forward
  void* grad_input =
      nullptr;  ///< [rows, cols], grad_input_dtype; may be a grad_output of that dtype
  std::optional<DType> grad_output_dtype = std::nullopt;
  std::optional<DType> grad_input_dtype = std::nullopt;
};

/// Dequantization of stored codes: exact in the matrix's dtype, then rounded to output_dtype. An
/// empty one is the matrix's; a float32 matrix also gives bfloat16. Any other is an error.
struct DequantizeParams {
  GroupedMatrix matrix;
  const int8_t* codes = nullptr;  ///< [rows, cols]; null if they are packed
  const uint8_t* packed_codes =
      nullptr;                   ///< [rows, packed_row_bytes(cols)], of the int4 grids only
  const void* scales = nullptr;  ///< [rows, cols / group_size], scale_dtype
  const void* zeros = nullptr;  ///< [rows, cols / group_size], scale_dtype; null for kSymmetricInt4
  void* output = nullptr;       ///< [rows, cols], output_dtype
  std::optional<DType> output_dtype = std::nullopt;
};

/// CPU: process rows [row_begin, row_end), so that the caller chooses the threads. The best
/// instruction set of this machine is used; cpu_isa.h names one instead. All give the same bits.
void fake_quantize_cpu(const FakeQuantParams& params, int64_t row_begin, int64_t row_end);
void fake_quantize_backward_cpu(const FakeQuantBackwardParams& params, int64_t row_begin,
                                int64_t row_end);
void dequantize_cpu(const DequantizeParams& params, int64_t row_begin, int64_t row_end);

}  // namespace nibble::kernels
