#pragma once

#include <nibble/models/loading.h>
#include <nibble/nn/quantization_spec.h>
#include <nibble/quantization/quantize.h>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace nibble::apps {

inline at::ScalarType dtype_from(const std::string& name) {
  return name == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

/// The flags of where and in which dtype a model computes.
struct ComputeFlags {
  std::string dtype = "float32", device = "auto";

  void add(CLI::App& app) {
    app.add_option("--dtype", dtype, "of weights and compute")
        ->check(CLI::IsMember({"float32", "bfloat16"}));
    app.add_option("--device", device, "auto (CUDA where there is one), cpu, cuda or cuda:N");
  }
  LoadOptions load_options() const { return {dtype_from(dtype), device_from(device)}; }
};

/// The flags that say how a model is quantized. What is not given stays empty.
struct QuantizationFlags {
  std::string scheme, grid, scale_dtype;
  std::optional<int64_t> group_size;

  bool any() const {
    return !scheme.empty() || !grid.empty() || !scale_dtype.empty() || group_size.has_value();
  }

  /// Adds them, the scheme under the name `scheme_option`. `need_scheme`: the others mean nothing
  /// without it.
  void add(CLI::App& app, const char* scheme_option, const char* meaning, bool need_scheme) {
    const CLI::IsMember schemes({"8da4w", "4w"}), grids({"symmetric", "asymmetric"}),
        dtypes({"float32", "bfloat16"});
    CLI::Option* option = app.add_option(scheme_option, scheme, meaning)->check(schemes);
    const auto others = {
        app.add_option("--group-size", group_size, "-1: per channel"),
        app.add_option("--grid", grid, "of the weights; asymmetric is for 4w")->check(grids),
        app.add_option("--scale-dtype", scale_dtype)->check(dtypes)};
    for (CLI::Option* other : others) {
      if (need_scheme) other->needs(option);
    }
  }

  /// `spec` with what was given.
  nn::QuantizationSpec applied_to(nn::QuantizationSpec spec) const {
    if (!scheme.empty()) spec.scheme = nn::scheme_from_string(scheme);
    if (group_size) spec.group_size = *group_size;
    if (!scale_dtype.empty()) spec.scale_dtype = dtype_from(scale_dtype);
    if (!grid.empty()) {
      spec.grid = grid == "symmetric" ? nn::WeightGrid::kSymmetric : nn::WeightGrid::kAsymmetric;
    }
    return spec;
  }

  /// The defaults of quantize_() for the scheme, with what was given.
  QuantizeConfig post_training_config() const {
    QuantizeConfig config =
        scheme == "8da4w" ? int8_dynamic_activation_int4_weight() : int4_weight_only();
    config.spec = applied_to(config.spec);
    return config;
  }
};

}  // namespace nibble::apps
