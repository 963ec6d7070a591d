#pragma once

#include <torch/nn/module.h>

#include <cstdint>

namespace nibble::eval {

/// Bytes of the parameters and buffers below `module`, each storage once: int4 codes and scales of
/// quantized Linears are buffers.
int64_t memory_bytes(const torch::nn::Module& module);

}  // namespace nibble::eval
