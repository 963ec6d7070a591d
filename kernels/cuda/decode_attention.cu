#include <nibble/kernels/decode_attention_cuda.h>

#include "../grid_dispatch.h"
#include "device/decode_block.cuh"
#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

int64_t head_chunks(const DecodeAttentionParams& p) {
  return ceil_divide(p.heads / p.kv_heads, kDecodeHeads);
}

/// Blocks that may share the keys of a head: a cluster, and where there may be more keys than that
/// is for as many clusters as the multiprocessors have room for.
int64_t splits(const DecodeAttentionParams& p) {
  const int64_t cluster = most_cluster_blocks();
  const int64_t room = kDecodeBlocks * device_attribute(cudaDevAttrMultiProcessorCount) /
                       (p.kv_heads * head_chunks(p) * cluster);
  const int64_t wanted = ceil_divide(p.capacity, kKeysPerBlock * cluster);
  return std::max<int64_t>(1, std::min(room, wanted)) * cluster;
}

template <class T, int head_dim>
__global__ void __launch_bounds__(kDecodeWarps<head_dim>* kWarp, kDecodeBlocks)
    decode_attention_kernel(const __grid_constant__ DecodeAttentionParams p, int group, int splits,
                            int cluster_blocks) {
  __shared__ typename DecodeBlock<T, head_dim>::Shared shared;
  let_next_begin();
  DecodeBlock<T, head_dim> block(p, group, splits, cluster_blocks, shared);
  block.prefetch();
  wait_for_previous();
  block.run();
}

template <class T, int head_dim>
void launch(const DecodeAttentionParams& p, cudaStream_t stream) {
  const auto parts = static_cast<unsigned>(splits(p));
  const auto heads = static_cast<unsigned>(p.kv_heads * head_chunks(p));
  LaunchShape shape{heads * parts, kDecodeWarps<head_dim> * kWarp};
  shape.cluster_blocks = most_cluster_blocks();
  launch_overlapping("decode_attention_kernel", decode_attention_kernel<T, head_dim>, shape, stream,
                     p, static_cast<int>(p.heads / p.kv_heads), static_cast<int>(parts),
                     static_cast<int>(shape.cluster_blocks));
}

}  // namespace
}  // namespace cuda

bool can_run_decode_attention(const DecodeAttentionParams& p) {
  const auto aligned = [](const void* address) { return cuda::is_aligned(address, 16); };
  return p.dtype != DType::kFloat32 &&
         (p.head_dim == 64 || p.head_dim == 128 || p.head_dim == 256) && p.kv_heads >= 1 &&
         p.heads % p.kv_heads == 0 && p.capacity >= 1 && p.capacity < int64_t{1} << 30 &&
         p.rotary_dim >= 0 && p.rotary_dim <= p.head_dim && p.rotary_dim % 2 == 0 &&
         aligned(p.key_cache) && aligned(p.value_cache) && aligned(p.value) && aligned(p.scratch);
}

int64_t decode_attention_scratch_bytes(const DecodeAttentionParams& p) {
  const int64_t heads = p.kv_heads * cuda::head_chunks(p);
  const int64_t partial = cuda::kDecodeHeads * (p.head_dim + 2);
  return (cuda::ceil_divide(heads, 4) * 4 + heads * cuda::splits(p) * partial) *
         static_cast<int64_t>(sizeof(float));
}

void decode_attention_cuda(const DecodeAttentionParams& p, CUstream_st* stream) {
  NIBBLE_CHECK(can_run_decode_attention(p), "decode_attention_cuda does not take ", p.heads,
               " heads of ", p.head_dim, " with ", p.kv_heads, " key heads");
  dispatch_dtype(p.dtype, [&](auto element) {
    using T = typename decltype(element)::type;
    if constexpr (!std::is_same_v<T, float>) {
      if (p.head_dim == 64) return cuda::launch<T, 64>(p, stream);
      if (p.head_dim == 128) return cuda::launch<T, 128>(p, stream);
      cuda::launch<T, 256>(p, stream);
    }
  });
}

}  // namespace nibble::kernels
