#include <nibble/core/error.h>
#include <nibble/quantization/export.h>
#include <nibble/train/trained_model.h>

#include <CLI/CLI.hpp>

#include <iostream>
#include <optional>
#include <string>

#include "quantization_flags.h"
#include "run_main.h"

namespace {

struct Arguments {
  std::string checkpoint, format, output;
  nibble::apps::QuantizationFlags quantization;
  std::string embedding;
  nibble::ExportOptions options;
};

void add_options(CLI::App& app, Arguments& arguments) {
  app.add_option(
         "--checkpoint", arguments.checkpoint,
         "a training checkpoint, a converted model, a Hugging Face directory or a GGUF file")
      ->required();
  app.add_option("--format", arguments.format)
      ->check(CLI::IsMember({"compressed-tensors", "torchao", "gguf", "hf"}))
      ->required();
  app.add_option("--output", arguments.output, "a new directory, or a new file for gguf")
      ->required();
  arguments.quantization.add(app, "--scheme",
                             "post-training quantization of a full-precision model; default group "
                             "32, symmetric, bfloat16 scales",
                             /*need_scheme=*/false);
  app.add_option("--embedding", arguments.embedding,
                 "of embedding and head; default: int8 for gguf, else unchanged")
      ->check(CLI::IsMember({"int8", "unchanged"}));
  app.add_flag("--allow-inexact", arguments.options.allow_inexact,
               "round scales that the format cannot hold");
  app.add_flag("--pack", arguments.options.pack_8da4w,
               "compressed-tensors: 8da4w as pack-quantized, half the size, not for vLLM");
  app.add_option("--max-shard-bytes", arguments.options.max_shard_bytes)
      ->check(CLI::PositiveNumber);
}

/// bfloat16 scales on the symmetric grid: what every format holds exactly.
nibble::nn::QuantizationSpec default_spec() {
  return {nibble::nn::Scheme::k8da4w, 32, at::kBFloat16, nibble::nn::WeightGrid::kSymmetric};
}

/// What the flags ask for: nothing for a model with a quantization of its own, which they may
/// repeat but not change.
std::optional<nibble::SpecQATQuantizer> requested_quantizer(
    const Arguments& arguments, const std::optional<nibble::nn::QuantizationSpec>& own) {
  const auto& flags = arguments.quantization;
  if (own) {
    const auto asked = flags.applied_to(*own);
    NIBBLE_CHECK(asked == *own, arguments.checkpoint, " is quantized as ",
                 nibble::nn::to_string(*own), "; the flags ask for ", nibble::nn::to_string(asked));
    return std::nullopt;
  }
  NIBBLE_CHECK(!flags.scheme.empty(), arguments.checkpoint,
               " is a full-precision model: --scheme 8da4w or --scheme 4w says how to quantize it",
               flags.any() ? " (the other flags do not)" : "");
  return nibble::SpecQATQuantizer(flags.applied_to(default_spec()));
}

int convert(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Writes a quantized model in a format that other programs take."};
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  if (!arguments.embedding.empty()) {
    arguments.options.embedding = arguments.embedding == "int8"
                                      ? nibble::EmbeddingStorage::kInt8
                                      : nibble::EmbeddingStorage::kUnchanged;
  }

  const auto model = nibble::train::open_trained_model(arguments.checkpoint);
  const auto quantizer = requested_quantizer(arguments, model.spec());
  const auto source = nibble::train::export_source(model, quantizer);
  const auto report =
      nibble::export_model(*source, nibble::export_format_from_string(arguments.format),
                           arguments.output, arguments.options);
  std::cout << arguments.output << ": " << report.quantized_linears << " Linears, "
            << nibble::nn::to_string(source->contents().spec) << ", as " << report.layout
            << "; embedding " << report.embedding << "; ";
  if (report.largest_relative_error == 0.0) {
    std::cout << "codes and scales are exact" << std::endl;
  } else {
    std::cout << "largest relative error of a weight " << report.largest_relative_error
              << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return nibble::apps::run_main(convert, argc, argv); }
