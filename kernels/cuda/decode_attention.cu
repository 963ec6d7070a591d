#include <nibble/kernels/decode_attention_cuda.h>

#include "../grid_dispatch.h"
#include "device/chunk.cuh"
#include "device/decode_heads.cuh"
#include "device/online_softmax.cuh"
#include "device/overlap.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kHeads = 4;              ///< query heads of one key head that a block takes at once
constexpr int64_t kKeysPerSplit = 64;  ///< a block has at least so many, if there are
constexpr int64_t kMostSplits = 32;

static_assert(kHeads <= kWarps, "each warp rotates one query head");

int64_t head_chunks(const DecodeAttentionParams& p) {
  return ceil_divide(p.heads / p.kv_heads, kHeads);
}

/// Blocks that share the keys of a head: enough for all multiprocessors, no more than there are
/// keys for.
int64_t splits(const DecodeAttentionParams& p) {
  const int64_t wanted =
      2 * device_attribute(cudaDevAttrMultiProcessorCount) / (p.kv_heads * head_chunks(p));
  const int64_t useful = std::min(ceil_divide(p.capacity, kKeysPerSplit), kMostSplits);
  return std::max<int64_t>(1, std::min(wanted, useful));
}

/// What a block leaves for the last one of its heads: [kv head][head chunk][split][kHeads], the
/// values and after them `highest` and `weight`.
template <int head_dim>
constexpr int64_t kPartialFloats = kHeads*(head_dim + 2);

/// The keys of one block.
struct KeyRange {
  int64_t begin, end;  ///< of those in the cache
  bool has_new;        ///< and after them the new token's
  int64_t blocks;      ///< that have keys
};

__device__ __forceinline__ KeyRange keys_of_split(int64_t position, int64_t window, int64_t split,
                                                  int64_t splits) {
  const int64_t first = window > 0 && position >= window ? position + 1 - window : 0;
  const int64_t keys = position + 1 - first;
  const int64_t even = (keys + splits - 1) / splits;
  const int64_t per_split = even > kKeysPerSplit ? even : kKeysPerSplit;
  const int64_t begin = first + split * per_split;
  const int64_t end = begin + per_split < position + 1 ? begin + per_split : position + 1;
  return {begin, end < position ? end : position, begin <= position && end == position + 1,
          (keys + per_split - 1) / per_split};
}

template <class T, int head_dim>
class Block {
 public:
  static constexpr int kLanes = head_dim / kOctet;  ///< that share a key
  static constexpr int kKeys = kWarp / kLanes;      ///< that a warp reads at once
  using Softmax = OnlineSoftmax<kOctet>;

  struct Shared {
    float queries[kHeads][head_dim];
    float key[head_dim];
    float merged[kWarps][kHeads][head_dim + 2];
    bool is_last;
  };

  __device__ Block(const DecodeAttentionParams& p, int64_t splits, Shared& shared)
      : p_(p),
        shared_(shared),
        splits_(splits),
        split_(blockIdx.x % splits),
        chunk_(blockIdx.x / splits % chunks(p)),
        kv_head_(blockIdx.x / splits / chunks(p)),
        group_(static_cast<int>(p.heads / p.kv_heads)),
        first_head_(static_cast<int>(chunk_) * kHeads) {}

  __device__ void run() {
    const int64_t position = *p_.position;
    const KeyRange keys = keys_of_split(position, p_.window, split_, splits_);
    if (split_ >= keys.blocks) return;
    rotate_heads(position, keys.has_new);
    __syncthreads();
    load_queries();
    if (keys.has_new && chunk_ == 0) write_cache(position);
    for (int64_t key = keys.begin + warp() * kKeys; key < keys.end; key += kWarps * kKeys) {
      add_keys(key + group_of_lane(), keys.end);
    }
    if (keys.has_new && warp() == 0) add_new();
    merge();
    keys.blocks == 1 ? store_output() : hand_over(keys.blocks);
  }

 private:
  __device__ static int64_t chunks(const DecodeAttentionParams& p) {
    return (p.heads / p.kv_heads + kHeads - 1) / kHeads;
  }
  __device__ static int warp() { return static_cast<int>(threadIdx.x / kWarp); }
  __device__ static int lane() { return static_cast<int>(threadIdx.x % kWarp); }
  __device__ static int group_of_lane() { return lane() / kLanes; }
  __device__ static int octet() { return lane() % kLanes * kOctet; }
  __device__ bool is_head(int head) const { return first_head_ + head < group_; }
  __device__ int64_t query_head(int head) const { return kv_head_ * group_ + first_head_ + head; }

  __device__ void rotate_heads(int64_t position, bool has_new) const {
    const RotatedHead<T, head_dim> rotation(p_, position);
    if (warp() < kHeads && is_head(warp())) {
      rotation.prepare(static_cast<const T*>(p_.query) + query_head(warp()) * head_dim,
                       p_.query_norm, shared_.queries[warp()]);
    }
    if (has_new && warp() == kWarps - 1) {
      rotation.prepare(static_cast<const T*>(p_.key) + kv_head_ * head_dim, p_.key_norm,
                       shared_.key);
    }
  }

  __device__ void load_queries() {
#pragma unroll
    for (int head = 0; head < kHeads; ++head) {
      softmax_[head] = Softmax::of_nothing();
#pragma unroll
      for (int i = 0; i < kOctet; ++i) {
        // Those that are not there give scores that nobody reads.
        queries_[head][i] = is_head(head) ? shared_.queries[head][octet() + i] * p_.scale : 0.0f;
      }
    }
  }

  __device__ void write_cache(int64_t position) const {
    const int64_t row = (kv_head_ * p_.capacity + position) * head_dim;
    for (int i = static_cast<int>(threadIdx.x); i < head_dim; i += kWarps * kWarp) {
      static_cast<T*>(p_.key_cache)[row + i] = T(shared_.key[i]);
      static_cast<T*>(p_.value_cache)[row + i] =
          static_cast<const T*>(p_.value)[kv_head_ * head_dim + i];
    }
  }

  /// One key for each group of lanes; those beyond the end count nothing.
  __device__ void add_keys(int64_t key, int64_t end) {
    const bool is_there = key < end;
    const int64_t row = (kv_head_ * p_.capacity + (is_there ? key : end - 1)) * head_dim + octet();
    Chunk<float, kOctet> keys, values;
    load(static_cast<const T*>(p_.key_cache) + row, keys);
    load(static_cast<const T*>(p_.value_cache) + row, values);
    add(keys.lanes, values.lanes, is_there);
  }

  __device__ void add_new() {
    Chunk<float, kOctet> values;
    load(static_cast<const T*>(p_.value) + kv_head_ * head_dim + octet(), values);
    float key[kOctet];
#pragma unroll
    for (int i = 0; i < kOctet; ++i) key[i] = shared_.key[octet() + i];
    add(key, values.lanes, group_of_lane() == 0);
  }

  __device__ void add(const float (&key)[kOctet], const float (&value)[kOctet], bool counts) {
    float scores[kHeads];
#pragma unroll
    for (int head = 0; head < kHeads; ++head) {
      scores[head] = 0;
#pragma unroll
      for (int i = 0; i < kOctet; ++i) scores[head] = fmaf(queries_[head][i], key[i], scores[head]);
    }
#pragma unroll
    for (int head = 0; head < kHeads; ++head) {
      const float score = sum_of_lanes(scores[head], kLanes);
      softmax_[head].add(counts ? score : -__builtin_inff(), value);
    }
  }

  /// Leaves the block's sums in shared memory, those of the first warp.
  __device__ void merge() {
#pragma unroll
    for (int head = 0; head < kHeads; ++head) {
#pragma unroll
      for (int distance = kLanes; distance < kWarp; distance *= 2) {
        softmax_[head].merge_lanes(distance);
      }
      if (group_of_lane() != 0) continue;
      float* merged = shared_.merged[warp()][head];
#pragma unroll
      for (int i = 0; i < kOctet; ++i) merged[octet() + i] = softmax_[head].values[i];
      if (octet() == 0) {
        merged[head_dim] = softmax_[head].highest;
        merged[head_dim + 1] = softmax_[head].weight;
      }
    }
    __syncthreads();
  }

  /// Element `at` of [kHeads][head_dim] merged over `parts`, `stride` floats apart, divided or not.
  struct Merged {
    float value, highest, weight;
  };
  __device__ static Merged merge_parts(const float* parts, int64_t count, int64_t stride, int at) {
    const float* part = parts + at / head_dim * (head_dim + 2);
    Merged result = {0, -__builtin_inff(), 0};
    for (int64_t i = 0; i < count; ++i) {
      result.highest = fmaxf(result.highest, part[i * stride + head_dim]);
    }
    for (int64_t i = 0; i < count; ++i) {
      const float factor = Softmax::rescaling(part[i * stride + head_dim], result.highest);
      result.weight = fmaf(factor, part[i * stride + head_dim + 1], result.weight);
      result.value = fmaf(factor, part[i * stride + at % head_dim], result.value);
    }
    return result;
  }

  __device__ void store(int at, const Merged& merged) const {
    if (!is_head(at / head_dim)) return;
    static_cast<T*>(p_.output)[query_head(at / head_dim) * head_dim + at % head_dim] =
        T(merged.value / merged.weight);
  }

  __device__ Merged merged_warps(int at) const {
    return merge_parts(&shared_.merged[0][0][0], kWarps, kPartialFloats<head_dim>, at);
  }

  __device__ void store_output() const {
    for (int at = static_cast<int>(threadIdx.x); at < kHeads * head_dim; at += kWarps * kWarp) {
      store(at, merged_warps(at));
    }
  }

  /// Leaves the sums for the block of these heads that is done last; that one merges them in their
  /// order.
  __device__ void hand_over(int64_t blocks) {
    const int64_t heads = kv_head_ * chunks(p_) + chunk_;
    auto* counters = static_cast<int*>(p_.scratch);
    float* partials = reinterpret_cast<float*>(counters + (p_.kv_heads * chunks(p_) + 3) / 4 * 4) +
                      heads * splits_ * kPartialFloats<head_dim>;
    float* mine = partials + split_ * kPartialFloats<head_dim>;
    for (int at = static_cast<int>(threadIdx.x); at < kHeads * head_dim; at += kWarps * kWarp) {
      const Merged merged = merged_warps(at);
      float* head = mine + at / head_dim * (head_dim + 2);
      head[at % head_dim] = merged.value;
      if (at % head_dim == 0) {
        head[head_dim] = merged.highest;
        head[head_dim + 1] = merged.weight;
      }
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      shared_.is_last = atomicAdd(counters + heads, 1) == static_cast<int>(blocks) - 1;
      if (shared_.is_last) counters[heads] = 0;  // for the next call
    }
    __syncthreads();
    if (!shared_.is_last) return;
    __threadfence();
    for (int at = static_cast<int>(threadIdx.x); at < kHeads * head_dim; at += kWarps * kWarp) {
      store(at, merge_parts(partials, blocks, kPartialFloats<head_dim>, at));
    }
  }

  const DecodeAttentionParams& p_;
  Shared& shared_;
  int64_t splits_, split_, chunk_, kv_head_;
  int group_, first_head_;
  float queries_[kHeads][kOctet];
  Softmax softmax_[kHeads];
};

template <class T, int head_dim>
__global__ void __launch_bounds__(kWarps* kWarp)
    decode_attention_kernel(const __grid_constant__ DecodeAttentionParams p, int64_t splits) {
  __shared__ typename Block<T, head_dim>::Shared shared;
  let_next_begin();
  wait_for_previous();
  Block<T, head_dim>(p, splits, shared).run();
}

template <class T, int head_dim>
void launch(const DecodeAttentionParams& p, cudaStream_t stream) {
  const int64_t parts = splits(p);
  launch_overlapping("decode_attention_kernel", decode_attention_kernel<T, head_dim>,
                     {static_cast<unsigned>(p.kv_heads * head_chunks(p) * parts), kWarps * kWarp},
                     stream, p, parts);
}

}  // namespace
}  // namespace cuda

bool can_run_decode_attention(const DecodeAttentionParams& p) {
  const auto aligned = [](const void* address) { return cuda::is_aligned(address, 16); };
  return p.dtype != DType::kFloat32 &&
         (p.head_dim == 64 || p.head_dim == 128 || p.head_dim == 256) && p.kv_heads >= 1 &&
         p.heads % p.kv_heads == 0 && p.capacity >= 1 && p.rotary_dim >= 0 &&
         p.rotary_dim <= p.head_dim && p.rotary_dim % 2 == 0 && aligned(p.key_cache) &&
         aligned(p.value_cache) && aligned(p.value) && aligned(p.scratch);
}

int64_t decode_attention_scratch_bytes(const DecodeAttentionParams& p) {
  const int64_t heads = p.kv_heads * cuda::head_chunks(p);
  const int64_t partial = cuda::kHeads * (p.head_dim + 2);
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
