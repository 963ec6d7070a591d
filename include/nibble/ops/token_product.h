#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

/// One token through a quantized Linear on the CPU without tensor operations: prepared once for
/// buffers that keep their places, run as often as wanted. The results are the bits of
/// quantized_linear() and int8_dynamic_quantized_linear(). For inference only.
namespace nibble::ops {

/// The token [features] that products read, and for 8da4w its int8 codes.
class TokenInput {
 public:
  TokenInput(int64_t features, const at::TensorOptions& options, bool quantizes);

  bool quantizes() const { return arranged_.defined(); }
  /// Makes the codes of `value`, where there are any.
  void quantize() const;

  at::Tensor value;

 private:
  friend class TokenProduct;
  at::Tensor codes_, arranged_, scale_, zero_;
};

/// A weight as a quantized Linear stores it.
struct StoredInt4 {
  at::Tensor packed;  ///< uint8 [out, in / 2]
  at::Tensor scales;  ///< [out, in / group_size]
  at::Tensor zeros;   ///< like scales; undefined on the symmetric grid
  at::Tensor bias;    ///< [out] of the input's dtype, or undefined

  /// The same for rows [begin, begin + count), in the same memory.
  StoredInt4 rows(int64_t begin, int64_t count) const;
};

/// y = x W^T + b, in integers where the input quantizes.
class TokenProduct {
 public:
  /// Whether the kernels take a weight of this shape and its bias has the input's dtype.
  static bool takes(const StoredInt4& weight, const TokenInput& input);
  /// `output` is contiguous [out] of the input's dtype. Keeps what it is given. Throws Error for a
  /// weight that it does not take.
  TokenProduct(const StoredInt4& weight, const TokenInput& input, at::Tensor output);

  const at::Tensor& output() const;
  int64_t rows() const { return output().numel(); }
  int64_t tile() const;  ///< ranges of rows begin at multiples of it
  void run(int64_t begin, int64_t end) const;

 private:
  struct Operands;
  std::shared_ptr<const Operands> operands_;
};

}  // namespace nibble::ops
