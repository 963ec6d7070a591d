#pragma once

#include "chunk.cuh"
#include "cluster.cuh"
#include "decode_heads.cuh"
#include "online_softmax.cuh"

/// What a block of the decode attention does: some of the keys of one key head, for up to four of
/// the query heads that share it. Few keys are shared by the blocks of one cluster, which add their
/// sums up in shared memory; more by all blocks, which do so in global memory.
namespace nibble::kernels::cuda {

constexpr int kDecodeHeads = 4;     ///< query heads of one key head that a block takes at once
constexpr int kKeysPerBlock = 256;  ///< up to so many for each of its blocks, a cluster is enough
constexpr int kKeysAhead = 2;       ///< that a lane reads together
constexpr int kDecodeBlocks = 2;    ///< that share a multiprocessor
/// No more than kDecodeBlocks blocks have registers for, and one for each query head.
template <int head_dim>
constexpr int kDecodeWarps = head_dim == 64 ? 8 : 4;

/// What a block leaves for others of its heads: [kDecodeHeads], the values and after them `highest`
/// and `weight`. In global memory [kv head][head chunk][split] of that.
template <int head_dim>
constexpr int64_t kPartialFloats = kDecodeHeads*(head_dim + 2);

/// The keys of one block.
struct KeyRange {
  int begin, end;  ///< of those in the cache
  bool has_new;    ///< and after them the new token's
  int blocks;      ///< that share them: a cluster, or more blocks that all have some
};

__device__ __forceinline__ KeyRange keys_of_split(int position, int window, int split, int splits,
                                                  int cluster_blocks) {
  const int first = window > 0 && position >= window ? position + 1 - window : 0;
  const int keys = position + 1 - first;
  const int wanted = (keys + kKeysPerBlock - 1) / kKeysPerBlock;
  const bool one_cluster = wanted <= cluster_blocks || splits == cluster_blocks;
  const int blocks = one_cluster ? cluster_blocks : min(wanted, splits);
  const int per_split = (keys + blocks - 1) / blocks;
  const int begin = first + split * per_split, end = min(begin + per_split, position + 1);
  return {begin, min(end, position), begin <= position && end == position + 1,
          one_cluster ? cluster_blocks : (keys + per_split - 1) / per_split};
}

template <class T, int head_dim>
class DecodeBlock {
 public:
  static constexpr int kLanes = head_dim / kOctet;  ///< that share a key
  static constexpr int kKeys = kWarp / kLanes;      ///< that a warp reads at once
  static constexpr int kElements = kDecodeHeads * head_dim;
  using Softmax = OnlineSoftmax<kOctet>;

  struct Shared {
    float queries[kDecodeHeads][head_dim];
    float key[head_dim];
    float merged[kDecodeWarps<head_dim>][kDecodeHeads][head_dim + 2];
    float partial[kPartialFloats<head_dim>];
    bool is_last;
  };

  /// `splits` blocks have the same heads, a multiple of `cluster_blocks`.
  __device__ DecodeBlock(const DecodeAttentionParams& p, int group, int splits, int cluster_blocks,
                         Shared& shared)
      : p_(p),
        shared_(shared),
        group_(group),
        chunks_((group + kDecodeHeads - 1) / kDecodeHeads),
        splits_(splits),
        cluster_blocks_(cluster_blocks),
        split_(static_cast<int>(blockIdx.x) % splits),
        chunk_(static_cast<int>(blockIdx.x) / splits % chunks_),
        kv_head_(static_cast<int>(blockIdx.x) / splits / chunks_) {}

  /// Has the keys and values of this block brought into the L2 cache, which may be done before
  /// earlier kernels have ended: a position that one of them still changes costs no more than time.
  __device__ void prefetch() const {
#if __CUDA_ARCH__ >= 900
    constexpr int kLine = 128, kKeyLines = head_dim * static_cast<int>(sizeof(T)) / kLine;
    const auto position = static_cast<int>(__ldcg(p_.position));
    if (position < 0 || position >= p_.capacity) return;
    const KeyRange keys =
        keys_of_split(position, static_cast<int>(p_.window), split_, splits_, cluster_blocks_);
    const int64_t begin = row_of(keys.begin) * static_cast<int64_t>(sizeof(T));
    const int lines = (keys.end - keys.begin) * kKeyLines;
    for (int i = static_cast<int>(threadIdx.x); i < lines; i += kDecodeWarps<head_dim> * kWarp) {
      for (const void* cache : {p_.key_cache, p_.value_cache}) {
        const char* line = static_cast<const char*>(cache) + begin + int64_t{i} * kLine;
        asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(line)));
      }
    }
#endif
  }

  /// When earlier kernels have ended.
  __device__ void run() {
    const auto position = static_cast<int>(*p_.position);
    const KeyRange keys =
        keys_of_split(position, static_cast<int>(p_.window), split_, splits_, cluster_blocks_);
    if (split_ >= keys.blocks) return;
    // The first keys are under way while the heads are rotated, later ones while others are used.
    constexpr int kStep = kKeysAhead * kDecodeWarps<head_dim> * kKeys;
    int key = keys.begin + warp() * kKeysAhead * kKeys + group_of_lane();
    KeyValues next = read(key, keys.end);
    rotate_heads(position, keys.has_new);
    __syncthreads();
    load_queries();
    if (keys.has_new && chunk_ == 0) write_cache(position);
    const bool has_keys = key - group_of_lane() < keys.end || (keys.has_new && warp() == 0);
    for (; key - group_of_lane() < keys.end; key += kStep) {
      const KeyValues now = next;
      next = read(key + kStep, keys.end);
      add_keys(now, key, keys.end);
    }
    if (keys.has_new && warp() == 0) add_new();
    merge(has_keys);
    if (keys.blocks == 1) {
      store_output();
    } else if (keys.blocks == cluster_blocks_) {
      share_in_cluster();
    } else {
      hand_over(keys.blocks);
    }
  }

 private:
  /// kKeysAhead keys, kKeys apart, as a lane reads them.
  struct KeyValues {
    WordsOf<T, kOctet> keys[kKeysAhead], values[kKeysAhead];
  };

  __device__ static int warp() { return static_cast<int>(threadIdx.x / kWarp); }
  __device__ static int lane() { return static_cast<int>(threadIdx.x % kWarp); }
  __device__ static int group_of_lane() { return lane() / kLanes; }
  __device__ static int octet() { return lane() % kLanes * kOctet; }
  __device__ bool is_head(int head) const { return chunk_ * kDecodeHeads + head < group_; }
  __device__ int query_head(int head) const {
    return kv_head_ * group_ + chunk_ * kDecodeHeads + head;
  }

  __device__ void rotate_heads(int position, bool has_new) const {
    const RotatedHead<T, head_dim> rotation(p_, position);
    if (warp() < kDecodeHeads && is_head(warp())) {
      rotation.prepare(static_cast<const T*>(p_.query) + query_head(warp()) * head_dim,
                       p_.query_norm, shared_.queries[warp()]);
    }
    if (has_new && warp() == kDecodeWarps<head_dim> - 1) {
      rotation.prepare(static_cast<const T*>(p_.key) + kv_head_ * head_dim, p_.key_norm,
                       shared_.key);
    }
  }

  __device__ void load_queries() {
#pragma unroll
    for (int head = 0; head < kDecodeHeads; ++head) {
      softmax_[head] = Softmax::of_nothing();
#pragma unroll
      for (int i = 0; i < kOctet; ++i) {
        // Those that are not there give scores that nobody reads.
        queries_[head][i] = is_head(head) ? shared_.queries[head][octet() + i] * p_.scale : 0.0f;
      }
    }
  }

  __device__ void write_cache(int position) const {
    const int64_t row = row_of(position);
    for (int i = static_cast<int>(threadIdx.x); i < head_dim; i += kDecodeWarps<head_dim> * kWarp) {
      static_cast<T*>(p_.key_cache)[row + i] = T(shared_.key[i]);
      static_cast<T*>(p_.value_cache)[row + i] =
          static_cast<const T*>(p_.value)[kv_head_ * head_dim + i];
    }
  }

  __device__ int64_t row_of(int key) const { return (kv_head_ * p_.capacity + key) * head_dim; }

  /// Where there is no such key, the last one again; without any, rubbish.
  __device__ KeyValues read(int key, int end) const {
    KeyValues result = {};
    if (end <= 0) return result;
#pragma unroll
    for (int i = 0; i < kKeysAhead; ++i) {
      const int64_t at = row_of(min(key + i * kKeys, end - 1)) + octet();
      result.keys[i] =
          *reinterpret_cast<const WordsOf<T, kOctet>*>(static_cast<const T*>(p_.key_cache) + at);
      result.values[i] =
          *reinterpret_cast<const WordsOf<T, kOctet>*>(static_cast<const T*>(p_.value_cache) + at);
    }
    return result;
  }

  /// Keys beyond the end count nothing.
  __device__ void add_keys(const KeyValues& read, int key, int end) {
#pragma unroll
    for (int i = 0; i < kKeysAhead; ++i) {
      Chunk<float, kOctet> keys, values;
      load(reinterpret_cast<const T*>(&read.keys[i]), keys);
      load(reinterpret_cast<const T*>(&read.values[i]), values);
      add(keys.lanes, values.lanes, key + i * kKeys < end);
    }
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
    float scores[kDecodeHeads];
#pragma unroll
    for (int head = 0; head < kDecodeHeads; ++head) {
      scores[head] = 0;
#pragma unroll
      for (int i = 0; i < kOctet; ++i) scores[head] = fmaf(queries_[head][i], key[i], scores[head]);
    }
#pragma unroll
    for (int head = 0; head < kDecodeHeads; ++head) {
      const float score = sum_of_lanes(scores[head], kLanes);
      softmax_[head].add(counts ? score : -__builtin_inff(), value);
    }
  }

  /// Leaves the warps' sums in shared memory.
  __device__ void merge(bool has_keys) {
#pragma unroll
    for (int head = 0; head < kDecodeHeads; ++head) {
      if (has_keys) {
#pragma unroll
        for (int distance = kLanes; distance < kWarp; distance *= 2) {
          softmax_[head].merge_lanes(distance);
        }
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

  /// Element `at` of [kDecodeHeads][head_dim], merged over `count` parts; read(part, i) is float i
  /// of kPartialFloats.
  struct Merged {
    float value, highest, weight;
  };
  template <class Read>
  __device__ static Merged merge_parts(int count, int at, Read&& read) {
    const int head = at / head_dim * (head_dim + 2);
    Merged result = {0, -__builtin_inff(), 0};
#pragma unroll 8
    for (int i = 0; i < count; ++i) {
      result.highest = fmaxf(result.highest, read(i, head + head_dim));
    }
#pragma unroll 8
    for (int i = 0; i < count; ++i) {
      const float factor = Softmax::rescaling(read(i, head + head_dim), result.highest);
      result.weight = fmaf(factor, read(i, head + head_dim + 1), result.weight);
      result.value = fmaf(factor, read(i, head + at % head_dim), result.value);
    }
    return result;
  }

  __device__ void store(int at, const Merged& merged) const {
    if (!is_head(at / head_dim)) return;
    static_cast<T*>(p_.output)[query_head(at / head_dim) * head_dim + at % head_dim] =
        T(merged.value / merged.weight);
  }

  /// Calls body(at) for elements [begin, end) of [kDecodeHeads][head_dim].
  template <class Body>
  __device__ static void for_elements(int begin, int end, Body&& body) {
    for (int at = begin + static_cast<int>(threadIdx.x); at < end;
         at += kDecodeWarps<head_dim> * kWarp) {
      body(at);
    }
  }

  __device__ Merged merged_warps(int at) const {
    const float* parts = &shared_.merged[0][0][0];
    return merge_parts(kDecodeWarps<head_dim>, at,
                       [&](int part, int i) { return parts[part * kPartialFloats<head_dim> + i]; });
  }

  __device__ void store_output() const {
    for_elements(0, kElements, [&](int at) { store(at, merged_warps(at)); });
  }

  __device__ void leave_partial(float* partial) const {
    for_elements(0, kElements, [&](int at) {
      const Merged merged = merged_warps(at);
      float* head = partial + at / head_dim * (head_dim + 2);
      head[at % head_dim] = merged.value;
      if (at % head_dim == 0) {
        head[head_dim] = merged.highest;
        head[head_dim + 1] = merged.weight;
      }
    });
  }

  /// Each block of the cluster stores a part of the output.
  __device__ void share_in_cluster() {
    leave_partial(shared_.partial);
    cluster_barrier();
    const int share = kElements / cluster_blocks_;
    for_elements(split_ * share, (split_ + 1) * share, [&](int at) {
      store(at, merge_parts(cluster_blocks_, at, [&](int block, int i) {
              return load_from_cluster(shared_.partial + i, block);
            }));
    });
    cluster_barrier();  // the others may still read this block's sums
  }

  /// Leaves the sums for the block of these heads that is done last; that one merges them in their
  /// order.
  __device__ void hand_over(int blocks) {
    const int heads = kv_head_ * chunks_ + chunk_;
    auto* counters = static_cast<int*>(p_.scratch);
    float* partials = reinterpret_cast<float*>(counters + (p_.kv_heads * chunks_ + 3) / 4 * 4) +
                      int64_t{heads} * splits_ * kPartialFloats<head_dim>;
    leave_partial(partials + split_ * kPartialFloats<head_dim>);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      shared_.is_last = atomicAdd(counters + heads, 1) == blocks - 1;
      if (shared_.is_last) counters[heads] = 0;  // for the next call
    }
    __syncthreads();
    if (!shared_.is_last) return;
    __threadfence();
    for_elements(0, kElements, [&](int at) {
      store(at, merge_parts(blocks, at, [&](int part, int i) {
              return partials[part * kPartialFloats<head_dim> + i];
            }));
    });
  }

  const DecodeAttentionParams& p_;
  Shared& shared_;
  int group_, chunks_, splits_, cluster_blocks_, split_, chunk_, kv_head_;
  float queries_[kDecodeHeads][kOctet];
  Softmax softmax_[kDecodeHeads];
};

}  // namespace nibble::kernels::cuda
