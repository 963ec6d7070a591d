#include <nibble/core/error.h>
#include <nibble/io/json.h>
#include <nibble/io/sharded_checkpoint.h>
#include <nibble/io/staged_directory.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/tensor_io/dtypes.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <algorithm>

#include "export_formats.h"

namespace nibble {
namespace {

using io::TensorGroup;
using nlohmann::json;

/// Readers cast everything to the dtype of config.json: the one that holds all tensors exactly.
template <class IsInt8>
at::ScalarType common_dtype(const ExportSource::Contents& contents, const IsInt8& is_int8) {
  at::ScalarType dtype = contents.spec.scale_dtype;
  for (const auto& parameter : contents.parameters) {
    if (!is_int8(parameter)) dtype = c10::promoteTypes(dtype, parameter.dtype);
  }
  return dtype;
}

void set_dtype(json& config, at::ScalarType dtype) {
  const bool old_key = config.contains("torch_dtype");
  if (old_key) config["torch_dtype"] = tensor_io::torch_name(dtype);
  if (!old_key || config.contains("dtype")) config["dtype"] = tensor_io::torch_name(dtype);
}

TensorGroup group_of(const ExportSource::Parameter& parameter, at::ScalarType dtype) {
  return {parameter.name,
          {{parameter.name, tensor_io::dtype_of(dtype), parameter.shape}},
          parameter.shape};
}

/// What write_int8_embedding() gives.
TensorGroup int8_group_of(const ExportSource::Parameter& parameter) {
  const int64_t groups = std::max<int64_t>(parameter.int8_groups, 1);
  return {parameter.name,
          {{parameter.name, io::DType::kI8, parameter.shape},
           {parameter.name + "_scale", io::DType::kF32, {parameter.shape.at(0), groups}}},
          parameter.shape};
}

void write_files(const ExportSource& source, const json& config, io::ShardedWriter& writer,
                 const io::StagedDirectory& staged) {
  writer.finish();
  io::write_json_file(staged.path() / "config.json", config);
  if (source.text() != nullptr) io::copy_text_files(*source.text(), staged.path());
  staged.publish();
}

}  // namespace

ExportReport write_quantized_directory(const ExportSource& source, const layouts::Layout& layout,
                                       const std::filesystem::path& directory,
                                       const ExportOptions& options) {
  const ExportSource::Contents& contents = source.contents();
  NIBBLE_CHECK(options.embedding != EmbeddingStorage::kInt8 || layout.takes_int8_embedding(),
               "this layout has no place for an int8 embedding; leave it unchanged");
  const auto is_int8 = [&](const ExportSource::Parameter& parameter) {
    if (options.embedding == EmbeddingStorage::kInt8) return may_be_int8(parameter.name);
    return options.embedding == EmbeddingStorage::kUnchanged && layout.takes_int8_embedding() &&
           parameter.int8_groups > 0;
  };
  std::vector<TensorGroup> groups;
  for (const auto& parameter : contents.parameters) {
    groups.push_back(is_int8(parameter) ? int8_group_of(parameter)
                                        : group_of(parameter, parameter.dtype));
  }
  for (const auto& [path, rows, columns] : contents.linears) {
    groups.push_back(
        {path + ".weight", layout.describe(path, rows, columns, contents.spec), {rows, columns}});
  }
  json config = contents.config;
  const json quantization = layout.config(contents.spec, contents.kept);
  const at::ScalarType dtype = common_dtype(contents, is_int8);
  config["quantization_config"] = quantization;
  set_dtype(config, dtype);

  const io::StagedDirectory staged(directory);
  io::ShardedWriter writer(staged.path(), groups, options.max_shard_bytes,
                           [&](const std::vector<TensorGroup>& shard) {
                             return layout.metadata(shard, contents.spec, dtype);
                           });
  for (const auto& parameter : contents.parameters) {
    if (!is_int8(parameter)) {
      writer.write(parameter.name, tensor_io::to_tensor_data(source.parameter(parameter.name)));
      continue;
    }
    const nn::Int8Weight weight = parameter.int8_groups > 0
                                      ? source.int8(parameter.name)
                                      : quantize_int8(source.parameter(parameter.name));
    for (const auto& [name, data] : write_int8_embedding(parameter.name, weight)) {
      writer.write(name, data);
    }
  }
  for (const auto& linear : contents.linears) {
    for (const auto& [name, data] : layout.write(linear.path, *source.linear(linear.path))) {
      writer.write(name, data);
    }
  }
  write_files(source, config, writer, staged);
  return {.quantized_linears = static_cast<int64_t>(contents.linears.size()),
          .layout = layout.name(),
          .embedding = std::ranges::any_of(contents.parameters, is_int8) ? "int8" : "unquantized"};
}

ExportReport write_dequantized_directory(const ExportSource& source,
                                         const std::filesystem::path& directory,
                                         const ExportOptions& options) {
  NIBBLE_CHECK(
      options.embedding.value_or(EmbeddingStorage::kUnchanged) == EmbeddingStorage::kUnchanged,
      "a dequantized model has no place for an int8 embedding");
  constexpr at::ScalarType kDtype = at::kBFloat16;
  const ExportSource::Contents& contents = source.contents();
  std::vector<TensorGroup> groups;
  for (const auto& parameter : contents.parameters) groups.push_back(group_of(parameter, kDtype));
  for (const auto& [path, rows, columns] : contents.linears) {
    groups.push_back(group_of({path + ".weight", {rows, columns}, kDtype}, kDtype));
  }
  json config = contents.config;
  set_dtype(config, kDtype);

  ExportReport report{.quantized_linears = static_cast<int64_t>(contents.linears.size()),
                      .layout = "dequantized bfloat16",
                      .embedding = "bfloat16"};
  const io::StagedDirectory staged(directory);
  io::ShardedWriter writer(staged.path(), groups, options.max_shard_bytes,
                           [](const std::vector<TensorGroup>&) {
                             return std::map<std::string, std::string>{{"format", "pt"}};
                           });
  const auto write = [&](const std::string& name, const at::Tensor& value) {
    const at::Tensor rounded = value.to(kDtype);
    report.largest_relative_error =
        std::max(report.largest_relative_error, largest_relative_error(rounded, value));
    writer.write(name, tensor_io::to_tensor_data(rounded));
  };
  for (const auto& parameter : contents.parameters) {
    write(parameter.name, source.parameter(parameter.name));
  }
  for (const auto& [path, rows, columns] : contents.linears) {
    write(path + ".weight", dequantized_weight(*source.linear(path), at::kFloat));
  }
  write_files(source, config, writer, staged);
  return report;
}

}  // namespace nibble
