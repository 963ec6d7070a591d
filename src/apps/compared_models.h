#pragma once

#include <nibble/eval/comparison.h>
#include <nibble/models/loading.h>

#include <string>
#include <vector>

namespace nibble::apps {

/// Reads NAME=WHAT. The one named fp, else the first, is the reference and comes first. WHAT is
/// anything on disk that the library reads: a training checkpoint (its Linears are quantized as its
/// recipe trained them), a converted model, a full-precision one. Or it is
/// SCHEME[:GROUP][:GRID][:SCALE_DTYPE], say "8da4w:32": the reference, quantized after its
/// training. Throws Error for a malformed or repeated name.
std::vector<eval::ComparedModel> read_compared_models(std::vector<std::string> arguments,
                                                      const LoadOptions& compute);

}  // namespace nibble::apps
