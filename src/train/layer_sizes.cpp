#include <nibble/nn/swap.h>
#include <nibble/train/layer_sizes.h>

namespace nibble::train {

eval::SizeChange quantized_layer_sizes(torch::nn::Module& model, at::ScalarType dtype) {
  const auto item_size = static_cast<int64_t>(c10::elementSize(dtype));
  eval::SizeChange sizes;
  for (const nn::LinearSite& site : nn::find_linears(model)) {
    const auto* linear = dynamic_cast<const nn::LinearImpl*>(site.module.get());
    if (linear == nullptr || linear->state() != nn::LinearState::kQuantized) continue;
    const int64_t bias = linear->bias.defined() ? linear->bias.numel() : 0;
    sizes.full_precision_bytes += (site.in_features() * site.out_features() + bias) * item_size;
    sizes.quantized_bytes += linear->storage_bytes();
  }
  return sizes;
}

}  // namespace nibble::train
