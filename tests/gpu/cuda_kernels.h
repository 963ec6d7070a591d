#pragma once

#include "support/kernel_set.h"

namespace nibble::tests {

/// kernels/cuda on the current device, for matrices in host memory: copies in, runs, waits, copies
/// out. Device buffers have the exact size and the alignment of the host's, so that a memory
/// checker sees every access outside them.
KernelSet cuda_kernels();

}  // namespace nibble::tests
