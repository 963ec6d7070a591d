#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/io/safetensors.h>
#include <nibble/nn/linear.h>

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

/// The layouts in which quantized Linears lie in a checkpoint (docs/formats.md).
namespace nibble::layouts {

/// What LinearImpl::load_quantized() takes.
struct QuantizedTensors {
  torch::Tensor packed_weight;
  torch::Tensor scales;
  torch::Tensor zeros;  ///< undefined on the symmetric grid
};

/// One way to store quantized Linears: which tensors a Linear becomes, and the quantization_config
/// that tells a reader.
class Layout {
 public:
  virtual ~Layout() = default;

  /// The quantization_config of config.json. `kept` are the paths of Linears in full precision.
  virtual nlohmann::json config(const nn::QuantizationSpec& spec,
                                const std::vector<std::string>& kept) const = 0;
  /// The spec that a quantization_config describes. Throws Error for one of another producer that
  /// this layout cannot mean.
  virtual nn::QuantizationSpec spec(const nlohmann::json& config) const = 0;

  /// The stored tensors of the Linear at `path`.
  virtual std::vector<io::NamedTensor> write(const std::string& path,
                                             const nn::LinearImpl& linear) const = 0;
  /// Their names' endings behind "<path>."; the first one marks a quantized Linear.
  virtual std::vector<std::string> suffixes() const = 0;
  /// The inverse of write(). `spec.scale_dtype` is set to the stored one.
  virtual QuantizedTensors read(const std::string& path, const io::Checkpoint& checkpoint,
                                nn::QuantizationSpec& spec) const = 0;
};

/// The layout for writing `spec`.
std::unique_ptr<Layout> for_spec(const nn::QuantizationSpec& spec);
/// The layout that a quantization_config names. Throws Error for an unknown quant_method.
std::unique_ptr<Layout> for_config(const nlohmann::json& config);

}  // namespace nibble::layouts
