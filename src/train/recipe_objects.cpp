#include <nibble/core/error.h>
#include <nibble/train/trainer.h>

#include <algorithm>

namespace nibble::train {
namespace {

TiedWeight tied_weight(TiedEmbedding rule) {
  switch (rule) {
    case TiedEmbedding::kKeep:
      return TiedWeight::kKeep;
    case TiedEmbedding::kUntie:
      return TiedWeight::kUntie;
    case TiedEmbedding::kBoth:
      return TiedWeight::kBoth;
  }
  fail("no such rule for tied embeddings");
}

SwapOptions swap_options(const QatRecipe& recipe) {
  SwapOptions options;
  options.modules_to_not_convert = recipe.modules_to_not_convert;
  auto& names = options.modules_to_not_convert;
  options.quantize_lm_head = std::erase(names, "lm_head") == 0;
  options.allow_unquantized_layers = recipe.allow_unquantized_layers;
  options.tied_weight = tied_weight(recipe.tied_embedding);
  return options;
}

data::RowFormat row_format(DatasetKind kind) {
  switch (kind) {
    case DatasetKind::kColumnMapped:
      return data::RowFormat::kColumns;
    case DatasetKind::kChat:
      return data::RowFormat::kChat;
    case DatasetKind::kSquad:
      return data::RowFormat::kSquad;
    case DatasetKind::kHellaSwag:
      return data::RowFormat::kHellaSwag;
  }
  return data::RowFormat::kColumns;
}

data::RowSelection row_selection(const DatasetRecipe& recipe) {
  data::RowSelection selection;
  selection.paths.assign(recipe.path_or_dataset_id.begin(), recipe.path_or_dataset_id.end());
  selection.split = recipe.split;
  if (recipe.shuffle_seed.has_value()) {
    selection.shuffle_seed = static_cast<uint64_t>(*recipe.shuffle_seed);
  }
  selection.limit = recipe.limit_dataset_samples;
  return selection;
}

}  // namespace

at::ScalarType scalar_type(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? at::kFloat : at::kBFloat16;
}

SpecQATQuantizer make_quantizer(const QatRecipe& recipe) {
  nn::QuantizationSpec spec;
  spec.scheme = recipe.quantizer.scheme == QatScheme::k8da4w ? nn::Scheme::k8da4w : nn::Scheme::k4w;
  spec.group_size = recipe.quantizer.groupsize;
  spec.scale_dtype = scalar_type(recipe.quantizer.scales_precision);
  spec.grid = recipe.quantizer.grid == QatGrid::kSymmetric ? nn::WeightGrid::kSymmetric
                                                           : nn::WeightGrid::kAsymmetric;
  return SpecQATQuantizer(spec, swap_options(recipe));
}

data::SftDataset load_dataset(const DatasetRecipe& recipe, const data::TextFormat& format,
                              const models::ModelConfig& config) {
  data::SftOptions options;
  options.format = row_format(recipe.kind);
  options.columns = {recipe.column_mapping.context, recipe.column_mapping.question,
                     recipe.column_mapping.answer, recipe.column_separator};
  options.use_chat_template = recipe.use_hf_chat_template;
  options.targets = {recipe.answer_only_loss_mask, recipe.mask_history};
  options.seq_length = recipe.seq_length.value_or(config.max_position_embeddings);
  options.truncation = recipe.truncation;
  options.skip_invalid_samples = recipe.skip_invalid_samples;
  return data::load_sft_dataset(row_selection(recipe), options, format);
}

}  // namespace nibble::train
