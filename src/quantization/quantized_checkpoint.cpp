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

bool is_dequantized_view(const io::Checkpoint& checkpoint) {
  return dynamic_cast<const DequantizedView*>(&checkpoint) != nullptr;
}

std::set<std::string> quantized_weights(const io::Checkpoint& view) {
  std::set<std::string> names;
  for (const std::string& path : DequantizedView::of(view).linears())
    names.insert(path + ".weight");
  return names;
}

void restore_quantization(torch::nn::Module& model, const io::Checkpoint& checkpoint,
                          const at::Device& device) {
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
    const auto placed = [&](const torch::Tensor& tensor) {
      return tensor.defined() ? tensor.to(device) : tensor;
    };
    linear->load_quantized(spec, placed(tensors.packed_weight), placed(tensors.scales),
                           placed(tensors.zeros), linear->weight.scalar_type());
  }
  NIBBLE_CHECK(missing.empty(), checkpoint.path().string(), " quantizes ", *missing.begin(),
               ", which the model does not have");
}

}  // namespace nibble
