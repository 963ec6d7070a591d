#pragma once

#include <cstdint>
#include <functional>
#include <span>

/// Work of many small steps on the CPU in one parallel region: a region a step would cost more than
/// most steps of decoding a token do.
namespace nibble::ops {

/// Work on rows that does not touch what other rows write.
struct Stage {
  int64_t rows = 0;
  int64_t tile = 1;  ///< ranges begin at multiples of it
  std::function<void(int64_t begin, int64_t end)> run;
};

/// One stage after the other, each split over LibTorch's threads, as many as any stage has tiles
/// for. What a stage throws is thrown here after the stages that other threads had begun; no later
/// one runs.
void run_stages(std::span<const Stage> stages);

}  // namespace nibble::ops
