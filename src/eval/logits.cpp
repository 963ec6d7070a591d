#include <nibble/core/error.h>
#include <nibble/eval/logits.h>
#include <nibble/eval/scoring.h>
#include <nibble/io/safetensors.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

namespace nibble::eval {

void write_logits(models::CausalLMImpl& model, std::span<const int64_t> ids,
                  const std::filesystem::path& path) {
  NIBBLE_CHECK(!ids.empty(), "logits need at least one token id");
  const int64_t vocab_size = model.config().vocab_size;
  for (const int64_t id : ids) {
    NIBBLE_CHECK(id >= 0 && id < vocab_size, "token id ", id, "; allowed: 0 to ", vocab_size - 1);
  }
  const EvaluationScope scope(model);
  const at::Tensor tokens = torch::tensor(at::ArrayRef<int64_t>(ids.data(), ids.size()), at::kLong);
  const at::Tensor logits =
      model.forward(tokens.unsqueeze(0).to(device_of(model))).squeeze(0).to(at::kFloat).cpu();
  io::write_safetensors(path, {{"logits", tensor_io::to_tensor_data(logits)},
                               {"tokens", tensor_io::to_tensor_data(tokens)}});
}

}  // namespace nibble::eval
