#include <nibble/core/error.h>

#include "benchmarks/graph_replay.h"

namespace nibble::benchmarks {

struct GraphReplay::Graph {};

GraphReplay::GraphReplay(const std::function<void()>&) : graph_(nullptr) {
  fail("this build of nibble has no CUDA");
}
GraphReplay::~GraphReplay() = default;
double GraphReplay::milliseconds() const { return 0; }

}  // namespace nibble::benchmarks
