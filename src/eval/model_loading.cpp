#include <nibble/eval/model_loading.h>
#include <nibble/quantization/quantized_checkpoint.h>

namespace nibble::eval {

std::shared_ptr<models::CausalLMImpl> load_for_inference(const io::Checkpoint& checkpoint,
                                                         LoadOptions options) {
  options.keep_int8 = true;
  if (!is_dequantized_view(checkpoint)) return models::load_model(checkpoint, options);
  options.without = quantized_weights(checkpoint);
  auto model = models::load_model(checkpoint, options);
  restore_quantization(*model, checkpoint, options.device);
  return model;
}

LoadedModel load_any_model(const std::filesystem::path& path, const LoadOptions& options) {
  std::unique_ptr<io::Checkpoint> checkpoint = io::open_checkpoint(path);
  if (is_quantized_checkpoint(*checkpoint)) checkpoint = dequantized_view(std::move(checkpoint));
  auto model = load_for_inference(*checkpoint, options);
  return {std::move(checkpoint), std::move(model)};
}

}  // namespace nibble::eval
