#include <nibble/core/error.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/quantized_checkpoint.h>

#include <torch/torch.h>

#include <set>

#include "dequantized_view.h"

namespace nibble {

bool is_quantized_checkpoint(const io::Checkpoint& checkpoint) {
  return checkpoint.config().contains("quantization_config");
}

std::unique_ptr<io::Checkpoint> dequantized_view(std::unique_ptr<io::Checkpoint> checkpoint) {
  return std::make_unique<DequantizedView>(std::move(checkpoint));
}

void restore_quantization(torch::nn::Module& model, const io::Checkpoint& checkpoint) {
  const DequantizedView& view = DequantizedView::of(checkpoint);
  torch::NoGradGuard no_grad;
  std::set<std::string> missing = view.linears();
  for (const nn::LinearSite& site : nn::find_linears(model)) {
    if (missing.erase(site.path) == 0) continue;
    auto* linear = dynamic_cast<nn::LinearImpl*>(site.module.get());
    NIBBLE_CHECK(linear != nullptr, site.path,
                 " is a torch::nn::Linear; only nibble::nn::Linear "
                 "can be switched to stored codes");
    auto [spec, tensors] = view.linear(site.path);
    linear->load_quantized(spec, tensors.packed_weight, tensors.scales, tensors.zeros,
                           linear->weight.scalar_type());
  }
  NIBBLE_CHECK(missing.empty(), checkpoint.path().string(), " quantizes ", *missing.begin(),
               ", which the model does not have");
}

}  // namespace nibble
