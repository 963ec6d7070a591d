#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "benchmarks/bench_support.h"
#include "benchmarks/graph_replay.h"

namespace nibble::benchmarks {

struct GraphReplay::Graph {
  at::cuda::CUDAGraph graph;
  c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool();
};

GraphReplay::GraphReplay(const std::function<void()>& work) : graph_(new Graph) {
  const c10::cuda::CUDAStreamGuard guard(graph_->stream);
  work();  // what is made on first use may not be made during a capture
  graph_->stream.synchronize();
  graph_->graph.capture_begin();
  work();
  graph_->graph.capture_end();
}

GraphReplay::~GraphReplay() { delete graph_; }

double GraphReplay::milliseconds() const {
  const c10::cuda::CUDAStreamGuard guard(graph_->stream);
  return wall_milliseconds([&] {
    graph_->graph.replay();
    graph_->stream.synchronize();
  });
}

}  // namespace nibble::benchmarks
