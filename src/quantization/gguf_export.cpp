#include <nibble/core/error.h>
#include <nibble/io/ggml_encode.h>
#include <nibble/io/gguf_model.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "export_formats.h"

namespace nibble {
namespace {

constexpr uint32_t kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ8_0 = 8, kBF16 = 30;  // enum ggml_type
constexpr uint32_t kMostlyQ4_0 = 2;                                       // enum llama_ftype
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head";

uint32_t type_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return kF32;
    case at::kHalf:
      return kF16;
    case at::kBFloat16:
      return kBF16;
    default:
      fail("GGUF stores float32, bfloat16 and float16 parameters, not ", dtype);
  }
}

std::span<const std::byte> bytes_of(const at::Tensor& dense) {
  return {static_cast<const std::byte*>(dense.const_data_ptr()), dense.nbytes()};
}

at::Tensor in_order(const at::Tensor& tensor, const std::vector<int64_t>& rows) {
  if (rows.empty()) return tensor;
  return tensor.index_select(0, at::tensor(rows, at::kLong));
}

/// Whether any code of a group stands for something other than 0, whatever the scale is.
at::Tensor groups_in_use(const at::Tensor& codes, const at::Tensor& scales) {
  return codes.view({scales.size(0), scales.size(1), -1}).ne(0).any(-1);
}

class GgufExport {
 public:
  GgufExport(const ExportSource& source, const std::filesystem::path& path,
             const ExportOptions& options)
      : source_(source),
        contents_(source.contents()),
        options_(options),
        path_(path),
        model_(contents_.config, path.string()) {
    check_representable();
    int8_ = options.embedding.value_or(EmbeddingStorage::kInt8) == EmbeddingStorage::kInt8;
    shares_head_ = head_is_the_embedding();
  }

  ExportReport write() {
    const std::filesystem::path folder = path_.parent_path();
    if (!folder.empty()) std::filesystem::create_directories(folder);
    io::GgufWriter writer(path_, metadata(), tensors());
    for (const auto& parameter : contents_.parameters) write_parameter(parameter, writer);
    for (const auto& linear : contents_.linears) {
      if (is_written(linear)) write_linear(linear, writer);
    }
    if (!model_.rope_divisors().empty()) {
      writer.write(io::GgufModel::kRopeFrequencies,
                   std::as_bytes(std::span(model_.rope_divisors())));
    }
    writer.finish();
    return {.quantized_linears = static_cast<int64_t>(contents_.linears.size()),
            .largest_relative_error = largest_error_,
            .layout = "Q4_0",
            .embedding = embedding_type()};
  }

 private:
  void check_representable() const {
    NIBBLE_CHECK(source_.text() != nullptr,
                 "a GGUF file holds the tokenizer; name the checkpoint that has it");
    NIBBLE_CHECK(
        contents_.spec.grid == nn::WeightGrid::kSymmetric,
        "Q4_0 has no zero point, which the asymmetric 4w grid needs; TorchAO is the format "
        "that takes it");
    NIBBLE_CHECK(contents_.spec.group_size % io::kGgmlBlock == 0, "group size ",
                 contents_.spec.group_size,
                 " is not a multiple of 32, the block of Q4_0 that has one scale");
    NIBBLE_CHECK(!std::filesystem::exists(path_), path_.string(),
                 " exists already; a model is written to a new file");
  }

  /// TiedWeight::kBoth: one weight with one set of codes, which GGUF stores once.
  bool head_is_the_embedding() const {
    const auto is_head = [](const auto& linear) { return linear.path == kHead; };
    if (std::none_of(contents_.linears.begin(), contents_.linears.end(), is_head)) return false;
    const at::Tensor embedding = source_.parameter(kEmbedding);
    return dequantized_weight(*source_.linear(kHead), embedding.scalar_type()).equal(embedding);
  }

  bool is_written(const ExportSource::QuantizedLinear& linear) const {
    return !(shares_head_ && linear.path == kHead);
  }

  uint32_t type_of_parameter(const ExportSource::Parameter& parameter) const {
    if (parameter.shape.size() == 1) return kF32;  // llama.cpp adds and multiplies these in F32
    if (shares_head_ && parameter.name == kEmbedding) return kQ4_0;
    const int64_t group = parameter.shape.back() / std::max<int64_t>(parameter.int8_groups, 1);
    const bool is_int8 = int8_ && group % io::kGgmlBlock == 0 && may_be_int8(parameter.name);
    return is_int8 ? kQ8_0 : type_of(parameter.dtype);
  }

  std::string embedding_type() const {
    for (const auto& parameter : contents_.parameters) {
      if (parameter.name != kEmbedding) continue;
      return io::ggml_type_name(type_of_parameter(parameter));
    }
    return "none";
  }

  std::vector<io::GgufEntry> metadata() const {
    std::vector<io::GgufEntry> entries = model_.metadata();
    entries.push_back({"general.name", source_.text()->path().stem().string()});
    entries.push_back({"general.file_type", kMostlyQ4_0});
    for (io::GgufEntry& entry : io::gguf_tokenizer_metadata(*source_.text(), model_.vocab_size())) {
      entries.push_back(std::move(entry));
    }
    return entries;
  }

  std::vector<io::GgufTensorInfo> tensors() const {
    std::vector<io::GgufTensorInfo> tensors;
    const auto add = [&](const std::string& name, uint32_t type, std::vector<int64_t> shape) {
      tensors.push_back({name, io::find_ggml_type(type), std::move(shape)});
    };
    for (const auto& parameter : contents_.parameters) {
      add(model_.tensor_name(parameter.name), type_of_parameter(parameter), parameter.shape);
    }
    for (const auto& linear : contents_.linears) {
      if (!is_written(linear)) continue;
      add(model_.tensor_name(linear.path + ".weight"), kQ4_0, {linear.rows, linear.columns});
    }
    if (!model_.rope_divisors().empty()) {
      add(io::GgufModel::kRopeFrequencies, kF32,
          {static_cast<int64_t>(model_.rope_divisors().size())});
    }
    return tensors;
  }

  void write_parameter(const ExportSource::Parameter& parameter, io::GgufWriter& writer) {
    const std::string name = model_.tensor_name(parameter.name);
    const uint32_t type = type_of_parameter(parameter);
    if (type == kQ4_0) {
      writer.write(name, encode(kHead, *source_.linear(kHead), {}));
      return;
    }
    if (type == kQ8_0 && parameter.int8_groups > 0) {
      writer.write(name, encode_int8(parameter.name, source_.int8(parameter.name)));
      return;
    }
    const at::Tensor value = in_order(source_.parameter(parameter.name),
                                      model_.row_order(parameter.name, parameter.shape.at(0)));
    if (type == kQ8_0) {
      const at::Tensor floats = value.to(at::kFloat).contiguous();
      writer.write(name, io::quantize_q8_0({floats.const_data_ptr<float>(),
                                            static_cast<size_t>(floats.numel())}));
      return;
    }
    const at::ScalarType dtype = type == kF32 ? at::kFloat : parameter.dtype;
    writer.write(name, bytes_of(value.to(dtype).contiguous()));
  }

  void write_linear(const ExportSource::QuantizedLinear& linear, io::GgufWriter& writer) {
    const std::string name = linear.path + ".weight";
    writer.write(model_.tensor_name(name), encode(linear.path, *source_.linear(linear.path),
                                                  model_.row_order(name, linear.rows)));
  }

  std::vector<std::byte> encode(const std::string& path, const nn::LinearImpl& linear,
                                const std::vector<int64_t>& rows) {
    const at::Tensor codes = in_order(linear.codes(), rows).contiguous();
    return io::encode_q4_0(integers(codes),
                           block_scales(path, codes, in_order(linear.scales, rows)));
  }

  std::vector<std::byte> encode_int8(const std::string& name, const nn::Int8Weight& weight) {
    const at::Tensor codes = weight.codes.contiguous();
    return io::encode_q8_0(integers(codes), block_scales(name, codes, weight.scales));
  }

  static std::span<const int8_t> integers(const at::Tensor& codes) {
    return {codes.const_data_ptr<int8_t>(), static_cast<size_t>(codes.numel())};
  }

  /// The scales of codes [rows, columns], one for each block.
  std::vector<numerics::Float16> block_scales(const std::string& name, const at::Tensor& codes,
                                              const at::Tensor& stored) {
    const at::Tensor scales = stored.to(at::kFloat), halves = scales.to(at::kHalf);
    check_exact(name, scales, halves.to(at::kFloat), groups_in_use(codes, scales));
    const int64_t group = codes.size(1) / scales.size(1);
    const at::Tensor blocks = halves.repeat_interleave(group / io::kGgmlBlock, 1).contiguous();
    std::vector<numerics::Float16> values(static_cast<size_t>(blocks.numel()));
    std::memcpy(values.data(), blocks.const_data_ptr(), blocks.nbytes());
    return values;
  }

  void check_exact(const std::string& name, const at::Tensor& scales, const at::Tensor& stored,
                   const at::Tensor& in_use) {
    const at::Tensor trained = scales.masked_fill(in_use.logical_not(), 0.0);
    const double error = largest_relative_error(stored, trained);
    NIBBLE_CHECK(std::isfinite(error), name, ": a scale is beyond binary16, which GGUF stores");
    NIBBLE_CHECK(error == 0.0 || options_.allow_inexact, name,
                 ": GGUF stores scales in binary16, which does not hold this tensor's exactly "
                 "(relative error up to ",
                 error,
                 "). bfloat16 scales from 6.1e-5 up are exact; to round the others, allow inexact "
                 "export");
    largest_error_ = std::max(largest_error_, error);
  }

  const ExportSource& source_;
  const ExportSource::Contents& contents_;
  const ExportOptions& options_;
  std::filesystem::path path_;
  io::GgufModel model_;
  bool int8_ = true;
  bool shares_head_ = false;
  double largest_error_ = 0.0;
};

}  // namespace

ExportReport write_gguf(const ExportSource& source, const std::filesystem::path& path,
                        const ExportOptions& options) {
  return GgufExport(source, path, options).write();
}

}  // namespace nibble
