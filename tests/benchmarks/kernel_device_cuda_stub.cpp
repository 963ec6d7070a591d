#include <nibble/core/error.h>

#include "benchmarks/kernel_device.h"

namespace nibble::benchmarks {

std::unique_ptr<KernelDevice> cuda_device() {
  fail("this build has no CUDA kernels: configure with -DNIBBLE_CUDA=ON and nvcc");
}

}  // namespace nibble::benchmarks
