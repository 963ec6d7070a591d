#include <nibble/core/error.h>

#include "decode_graph.h"

namespace nibble::models {

struct DecodeGraph::State {};

bool DecodeGraph::is_available() { return false; }
DecodeGraph::DecodeGraph(DecodeStep&, const GenerationOptions&, int64_t, int64_t) {
  fail("this build of nibble has no CUDA");
}
DecodeGraph::~DecodeGraph() = default;
void DecodeGraph::launch() {}
int64_t DecodeGraph::read() { fail("this build of nibble has no CUDA"); }

}  // namespace nibble::models
