#pragma once

#include <nibble/kernels/fake_quant.h>

struct CUstream_st;

namespace nibble::kernels {

/// Attention of one token, the newest of its text: query and key are rotated for its position, key
/// and value are written into the cache there, and each query head attends to what the cache then
/// holds. The position lies on the device, so that a CUDA graph can be replayed for the next token.
/// Everything has one dtype; sums are float32.
struct DecodeAttentionParams {
  DType dtype = DType::kBFloat16;
  int64_t heads = 0;
  int64_t kv_heads = 0;  ///< divides heads
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;             ///< leading elements of a head that are rotated; even
  int64_t capacity = 0;               ///< tokens that the cache has room for
  const void* query = nullptr;        ///< [heads, head_dim]
  const void* key = nullptr;          ///< [kv_heads, head_dim]
  const void* value = nullptr;        ///< as key
  void* key_cache = nullptr;          ///< [kv_heads, capacity, head_dim]
  void* value_cache = nullptr;        ///< as key_cache
  const int64_t* position = nullptr;  ///< of the token, from 0; below capacity
  const void* cos = nullptr;          ///< [capacity, rotary_dim], as models::RotaryTables
  const void* sin = nullptr;
  const void* query_norm = nullptr;  ///< [head_dim]: RMSNorm of each head before the rotation
  const void* key_norm = nullptr;    ///< or null, both
  float norm_eps = 0;
  float scale = 1;          ///< of the scores
  int64_t window = 0;       ///< the token sees so many, itself included; 0: all
  void* scratch = nullptr;  ///< decode_attention_scratch_bytes(), zeros before the first use
  void* output = nullptr;   ///< [heads, head_dim]
};

/// Whether decode_attention_cuda() takes them: bfloat16 or float16, head_dim 64, 128 or 256,
/// buffers aligned to 16 bytes.
bool can_run_decode_attention(const DecodeAttentionParams& params);

/// Of the part that does not depend on pointers. Calls on one stream may share it.
int64_t decode_attention_scratch_bytes(const DecodeAttentionParams& params);

/// On the current CUDA device; returns once the work is queued on `stream`. Throws Error for
/// parameters that it does not take, when the launch fails and, in a build without CUDA, always.
void decode_attention_cuda(const DecodeAttentionParams& params, CUstream_st* stream);

}  // namespace nibble::kernels
