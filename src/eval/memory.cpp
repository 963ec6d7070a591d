#include <nibble/eval/memory.h>

#include <set>

namespace nibble::eval {

int64_t memory_bytes(const torch::nn::Module& module) {
  std::set<const void*> seen;
  int64_t bytes = 0;
  for (const auto& tensors : {module.parameters(), module.buffers()}) {
    for (const at::Tensor& tensor : tensors) {
      const c10::Storage& storage = tensor.storage();
      if (seen.insert(storage.unsafeGetStorageImpl()).second) {
        bytes += static_cast<int64_t>(storage.nbytes());
      }
    }
  }
  return bytes;
}

}  // namespace nibble::eval
