#pragma once

#include <nibble/ops/decode.h>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

/// One token through quantized Linears on the CPU without tensor operations: everything is prepared
/// once for buffers that keep their places, and a step is nothing but kernels on ranges of rows. The
/// results are the bits of the operators of the same name. For inference only.
namespace nibble::ops {

/// Work on rows that does not touch what other rows write.
struct Stage {
  int64_t rows = 0;
  int64_t tile = 1;  ///< ranges begin at multiples of it
  std::function<void(int64_t begin, int64_t end)> run;
};

/// One stage after the other, each split over LibTorch's threads. They stay together from the first
/// to the last: a parallel region a stage would cost more than most stages do.
void run_stages(std::span<const Stage> stages);

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
  at::Tensor bias;    ///< [out] or undefined

  /// The same for rows [begin, begin + count), in the same memory.
  StoredInt4 rows(int64_t begin, int64_t count) const;
};

/// y = x W^T + b, in integers where the input quantizes.
class TokenProduct {
 public:
  /// Whether the kernels take a weight of this shape.
  static bool takes(const StoredInt4& weight, const TokenInput& input);
  /// `output` is contiguous [out] of the input's dtype. Keeps both. Throws Error for a weight that it
  /// does not take.
  TokenProduct(const StoredInt4& weight, const TokenInput& input, at::Tensor output);

  int64_t rows() const;
  int64_t tile() const;
  void run(int64_t begin, int64_t end) const;

 private:
  struct Operands;
  std::shared_ptr<const Operands> operands_;
};

/// Products that read one token, as one stage.
Stage side_by_side(std::vector<TokenProduct> products);
/// `output` = silu(gate) * up, with the two products that give them; all [features].
Stage gated_silu_of(TokenProduct gate, TokenProduct up, const at::Tensor& gate_values,
                    const at::Tensor& up_values, const at::Tensor& output);
/// The product, and `residual` += its output.
Stage add_to(const at::Tensor& residual, TokenProduct product, const at::Tensor& output);
/// `output` = RMSNorm of `x`, quantized; as rms_norm(). All [features].
Stage norm_of(const at::Tensor& x, const at::Tensor& weight, double eps, const TokenInput& output);
Stage quantize(const TokenInput& input);

/// decode_attention() into `output` [heads, head_dim], contiguous: its position is read in each run.
/// Head dimensions of a multiple of 16, see can_run_single_query_attention(). `scratch` is unused.
Stage attention_of(const DecodeAttention& inputs, const at::Tensor& output);

}  // namespace nibble::ops
