#pragma once

#include <functional>

namespace nibble::benchmarks {

/// Milliseconds of one replay of a CUDA graph that `work` was captured into once: what the GPU
/// needs, without the time to launch. Replays `warmup` times before. Throws Error in a build
/// without CUDA.
class GraphReplay {
 public:
  explicit GraphReplay(const std::function<void()>& work);
  ~GraphReplay();
  GraphReplay(const GraphReplay&) = delete;
  GraphReplay& operator=(const GraphReplay&) = delete;

  double milliseconds() const;

 private:
  struct Graph;
  Graph* graph_;
};

}  // namespace nibble::benchmarks
