#include <nibble/core/error.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/quantization/export.h>

#include <torch/torch.h>

#include "export_formats.h"

namespace nibble {
namespace {

std::unique_ptr<layouts::Layout> compressed_tensors_layout(const nn::QuantizationSpec& spec,
                                                           const ExportOptions& options) {
  NIBBLE_CHECK(spec.grid == nn::WeightGrid::kSymmetric,
               "compressed-tensors has integer zero points, which cannot stand for the float ones "
               "of the asymmetric 4w grid; TorchAO is the format that takes it");
  return spec.quantizes_activations() && !options.pack_8da4w ? layouts::int_quantized_layout()
                                                             : layouts::pack_quantized_layout();
}

std::unique_ptr<layouts::Layout> torchao_layout(const nn::QuantizationSpec& spec) {
  return spec.grid == nn::WeightGrid::kSymmetric ? layouts::torchao_intx_layout()
                                                 : layouts::torchao_tile_packed_layout();
}

}  // namespace

bool may_be_int8(const std::string& name) {
  return name.ends_with("embed_tokens.weight") || name == "lm_head.weight" ||
         name.ends_with(".lm_head.weight");
}

ExportFormat export_format_from_string(std::string_view name) {
  if (name == "compressed-tensors") return ExportFormat::kCompressedTensors;
  if (name == "torchao") return ExportFormat::kTorchAO;
  if (name == "gguf") return ExportFormat::kGguf;
  if (name == "hf") return ExportFormat::kHuggingFace;
  fail("unknown export format '", name, "', allowed: compressed-tensors, torchao, gguf, hf");
}

at::Tensor dequantized_weight(const nn::LinearImpl& linear, at::ScalarType dtype) {
  return ops::dequantize_packed_weight(
      linear.packed_weight, linear.scales,
      linear.zeros.defined() ? std::optional(linear.zeros) : std::nullopt,
      linear.options.in_features(), linear.spec()->grid == nn::WeightGrid::kSymmetric, dtype);
}

double largest_relative_error(const at::Tensor& stored, const at::Tensor& trained) {
  if (trained.numel() == 0) return 0.0;
  const at::Tensor exact = trained.to(at::kFloat);
  const at::Tensor error = (stored.to(at::kFloat) - exact).abs().div(exact.abs());
  return error.masked_fill(exact.eq(0), 0.0).max().item<double>();
}

ExportReport export_model(const ExportSource& source, ExportFormat format,
                          const std::filesystem::path& path, const ExportOptions& options) {
  torch::NoGradGuard no_grad;
  const nn::QuantizationSpec& spec = source.contents().spec;
  switch (format) {
    case ExportFormat::kCompressedTensors:
      return write_quantized_directory(source, *compressed_tensors_layout(spec, options), path,
                                       options);
    case ExportFormat::kTorchAO:
      return write_quantized_directory(source, *torchao_layout(spec), path, options);
    case ExportFormat::kGguf:
      return write_gguf(source, path, options);
    case ExportFormat::kHuggingFace:
      return write_dequantized_directory(source, path, options);
  }
  fail("no such export format");
}

ExportReport export_model(const torch::nn::Module& model, const nlohmann::json& config,
                          const io::Checkpoint* text, ExportFormat format,
                          const std::filesystem::path& path, const ExportOptions& options) {
  return export_model(*module_source(model, config, text), format, path, options);
}

void save_quantized(const torch::nn::Module& model, const nlohmann::json& config,
                    const std::filesystem::path& directory, const io::Checkpoint* source,
                    const SaveQuantizedOptions& options) {
  torch::NoGradGuard no_grad;
  const auto contents = module_source(model, config, source);
  const bool symmetric = contents->contents().spec.grid == nn::WeightGrid::kSymmetric;
  const auto layout = symmetric ? layouts::pack_quantized_layout() : layouts::nibble_layout();
  write_quantized_directory(*contents, *layout, directory, {.embedding = options.embedding});
}

}  // namespace nibble
