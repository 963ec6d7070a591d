#pragma once

#include <nibble/eval/recovery.h>

#include <c10/core/ScalarType.h>
#include <torch/nn/module.h>

namespace nibble::train {

/// Bytes of the quantized Linears below `model`, biases included: stored in `dtype`, as they would
/// be without quantization, and as they are.
eval::SizeChange quantized_layer_sizes(torch::nn::Module& model, at::ScalarType dtype);

}  // namespace nibble::train
