#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/nn/linear.h>
#include <nibble/quantization/quantizer.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nibble {

/// A quantized model that is to be written, read one tensor at a time: no two weights have to be in
/// memory.
class ExportSource {
 public:
  /// A tensor that stays as it is: a norm, a bias, an embedding, a Linear in full precision.
  struct Parameter {
    std::string name;
    std::vector<int64_t> shape;
    at::ScalarType dtype;
    int64_t int8_groups = 0;  ///< scales a row where int8() has its integers, else 0
  };
  struct QuantizedLinear {
    std::string path;
    int64_t rows, columns;
  };
  struct Contents {
    nlohmann::json config;  ///< config.json of the plain model
    nn::QuantizationSpec spec;
    std::vector<Parameter> parameters;
    std::vector<QuantizedLinear> linears;
    std::vector<std::string> kept;  ///< paths of the Linears in full precision
  };

  virtual ~ExportSource() = default;

  const Contents& contents() const { return contents_; }
  /// Where tokenizer and chat template come from; may be null.
  virtual const io::Checkpoint* text() const = 0;
  virtual at::Tensor parameter(const std::string& name) const = 0;
  /// The integers of a parameter with int8_groups.
  virtual nn::Int8Weight int8(const std::string& name) const = 0;
  /// The Linear at `path` in state kQuantized, without its bias (a Parameter).
  virtual std::shared_ptr<const nn::LinearImpl> linear(const std::string& path) const = 0;

 protected:
  /// Called once all are listed: a quantized head shares no weight, whatever the plain model does.
  void set_contents(Contents contents);

 private:
  Contents contents_;
};

/// A converted model in memory, which must outlive the source. Throws Error when no Linear is
/// quantized, or when two are quantized differently.
std::unique_ptr<ExportSource> module_source(const torch::nn::Module& model,
                                            const nlohmann::json& config,
                                            const io::Checkpoint* text);

/// What `quantizer` makes of a full-precision checkpoint, a Linear at a time: bit for bit what
/// loading it in `dtype`, prepare() and convert() give. `structure` is the model without its
/// weights (models::load_structure); it is prepared. Throws PrepareError.
std::unique_ptr<ExportSource> quantizing_source(const io::Checkpoint& checkpoint,
                                                torch::nn::Module& structure,
                                                const QATQuantizer& quantizer,
                                                at::ScalarType dtype);

/// How the Linears behind a dequantized_view() are quantized.
nn::QuantizationSpec quantization_of(const io::Checkpoint& view);

/// A quantized checkpoint, seen through dequantized_view(), for writing it in another format.
std::unique_ptr<ExportSource> stored_source(const io::Checkpoint& view);

}  // namespace nibble
