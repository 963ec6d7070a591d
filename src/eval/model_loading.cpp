#include <nibble/eval/model_loading.h>
#include <nibble/quantization/quantized_checkpoint.h>

namespace nibble::eval {

LoadedModel load_any_model(const std::filesystem::path& path, const LoadOptions& options) {
  std::unique_ptr<io::Checkpoint> checkpoint = io::open_checkpoint(path);
  if (!is_quantized_checkpoint(*checkpoint)) {
    auto model = models::load_model(*checkpoint, options);
    return {std::move(checkpoint), std::move(model)};
  }
  checkpoint = dequantized_view(std::move(checkpoint));
  auto model = models::load_model(*checkpoint, {.dtype = options.dtype});
  restore_quantization(*model, *checkpoint);
  model->to(options.device);
  return {std::move(checkpoint), std::move(model)};
}

}  // namespace nibble::eval
