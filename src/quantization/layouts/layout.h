#pragma once

#include <nibble/io/checkpoint.h>
#include <nibble/io/safetensors.h>
#include <nibble/io/sharded_checkpoint.h>
#include <nibble/nn/linear.h>

#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

/// The layouts in which quantized Linears lie in a Hugging Face directory (docs/formats.md).
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

  /// For messages: "pack-quantized".
  virtual const char* name() const = 0;

  /// The quantization_config of config.json. `kept` are the paths of Linears in full precision.
  virtual nlohmann::json config(const nn::QuantizationSpec& spec,
                                const std::vector<std::string>& kept) const = 0;
  /// The spec that a quantization_config describes. Throws Error for one of another producer that
  /// this layout cannot mean.
  virtual nn::QuantizationSpec spec(const nlohmann::json& config) const = 0;

  /// What write() will give for a Linear of this size.
  virtual std::vector<io::TensorInfo> describe(const std::string& path, int64_t rows,
                                               int64_t columns,
                                               const nn::QuantizationSpec& spec) const = 0;
  /// The stored tensors of the Linear at `path`.
  virtual std::vector<io::NamedTensor> write(const std::string& path,
                                             const nn::LinearImpl& linear) const = 0;
  /// Their names' endings behind "<path>."; the first one marks a quantized Linear.
  virtual std::vector<std::string> suffixes() const = 0;
  /// The inverse of write(). `spec.scale_dtype` is set to the stored one. Throws Error naming the
  /// tensor that has another shape, dtype or content than the layout has.
  virtual QuantizedTensors read(const std::string& path, const io::Checkpoint& checkpoint,
                                nn::QuantizationSpec& spec) const = 0;

  /// The `__metadata__` of a file with these groups, a model of dtype `dtype`. A Linear's group is
  /// named by its weight and has several tensors or one of another name.
  virtual std::map<std::string, std::string> metadata(const std::vector<io::TensorGroup>& groups,
                                                      const nn::QuantizationSpec& spec,
                                                      at::ScalarType dtype) const;
  /// Whether the embedding may lie beside it as int8 (int8_embedding.h).
  virtual bool takes_int8_embedding() const { return true; }
};

/// Any spec, exactly, under the names of the module's own buffers.
std::unique_ptr<Layout> nibble_layout();
/// compressed-tensors: symmetric weights, eight codes an int32 word.
std::unique_ptr<Layout> pack_quantized_layout();
/// compressed-tensors: symmetric weights, a byte a code; what vLLM reads where activations are
/// quantized asymmetrically.
std::unique_ptr<Layout> int_quantized_layout();
/// TorchAO's IntxUnpackedToInt8Tensor: symmetric weights, a byte a code.
std::unique_ptr<Layout> torchao_intx_layout();
/// TorchAO's Int4TilePackedTo4dTensor: tinygemm's asymmetric grid, for CUDA.
std::unique_ptr<Layout> torchao_tile_packed_layout();

/// The layout that a quantization_config names. Throws Error for one that is not read.
std::unique_ptr<Layout> for_config(const nlohmann::json& config);

// Helpers of the layouts.

/// The tensor "<path>.<suffix>".
io::NamedTensor named(const std::string& path, const char* suffix, const torch::Tensor& tensor);
io::TensorInfo info(const std::string& path, const char* suffix, io::DType dtype,
                    std::vector<int64_t> shape);
/// A copy of "<path>.<suffix>". Throws Error unless it has this dtype and rank.
torch::Tensor read_tensor(const io::Checkpoint& checkpoint, const std::string& path,
                          const char* suffix, at::ScalarType dtype, int64_t rank);
/// The scales "<path>.<suffix>" of a [rows, columns] weight, whose dtype goes into `spec`. Throws
/// Error for another shape, a dtype that no scale has, or a group size that does not divide.
torch::Tensor read_scales(const io::Checkpoint& checkpoint, const std::string& path,
                          const char* suffix, int64_t rows, int64_t columns,
                          nn::QuantizationSpec& spec);
/// int8 codes [rows, columns] of the symmetric grid, packed. Throws Error outside -8..7.
torch::Tensor pack_codes(const torch::Tensor& codes, const std::string& name);

}  // namespace nibble::layouts
