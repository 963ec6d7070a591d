#include <nibble/train/loss.h>

#include <torch/torch.h>

namespace nibble::train {
namespace {

at::Tensor to_tensor(const std::vector<int64_t>& values, const data::Batch& batch,
                     const at::Device& device) {
  return torch::tensor(values, at::kLong).view({batch.rows, batch.length}).to(device);
}

}  // namespace

at::Tensor sum_cross_entropy(models::CausalLMImpl& model, const data::Batch& batch) {
  const at::Device device = model.parameters().front().device();
  models::ForwardOptions options;
  if (!batch.segments.empty()) options.segment_ids = to_tensor(batch.segments, batch, device);
  const at::Tensor hidden =
      model.hidden_states(to_tensor(batch.ids, batch, device), options).flatten(0, 1);
  const at::Tensor labels = to_tensor(batch.labels, batch, device).flatten();
  const at::Tensor targets = labels.ne(data::kIgnoreIndex).nonzero().squeeze(1);
  const at::Tensor logits = model.logits(hidden.index_select(0, targets)).to(at::kFloat);
  return torch::nll_loss(torch::log_softmax(logits, -1), labels.index_select(0, targets), {},
                         at::Reduction::Sum);
}

}  // namespace nibble::train
