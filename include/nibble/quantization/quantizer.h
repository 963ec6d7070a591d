#pragma once

#include <nibble/core/error.h>
#include <nibble/nn/quantization_spec.h>
#include <nibble/quantization/report.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <string>
#include <vector>

namespace nibble {

/// What to do with a Linear that is to be quantized and whose weight another module (an embedding)
/// also uses.
enum class TiedWeight {
  kKeep,   ///< leave the Linear in full precision
  kUntie,  ///< give the Linear a copy of its own and quantize that; an optimizer that was built
           ///< before prepare() does not know it
  kBoth,   ///< quantize the one weight for both: a nibble::nn::Embedding looks up rows of fq(W)
};

/// Which Linears of a model are quantized.
struct SwapOptions {
  /// Full paths ("model.layers.0.mlp.up_proj") or last components ("up_proj") of Linears that stay
  /// in full precision, or of modules that hold them ("model.layers.0", "mlp"). A name that matches
  /// no Linear is an error.
  std::vector<std::string> modules_to_not_convert;
  /// A Linear named lm_head stays in full precision unless this is set.
  bool quantize_lm_head = false;
  /// Linears whose in_features the group size does not divide stay in full precision instead of
  /// being an error.
  bool allow_unquantized_layers = false;
  TiedWeight tied_weight = TiedWeight::kKeep;
};

/// The Error of prepare(), with the choice that has to change.
class PrepareError : public Error {
 public:
  enum class About {
    kSpec,                 ///< scheme, grid or scale dtype that do not go together
    kGroupSize,            ///< QuantizationSpec::group_size
    kModulesToNotConvert,  ///< SwapOptions::modules_to_not_convert
    kTiedWeight,           ///< SwapOptions::tied_weight
    kModel,  ///< the model itself: nothing to quantize, or nothing that can be swapped
  };

  PrepareError(About about, const std::string& message) : Error(message), about_(about) {}
  About about() const { return about_; }

 private:
  About about_;
};

/// Swaps the Linears of any module tree for fake-quantized ones, and those for real int4.
///
/// Members of type nibble::nn::Linear switch in place. Plain torch::nn::Linear children are
/// replaced in the registry and in Sequential, ModuleList and ModuleDict; one that a typed member
/// also holds is an Error, since that member would go on calling the old module. The root itself
/// must not be a plain Linear. Parameters stay the same objects, so an optimizer built before
/// prepare() goes on training them (but see TiedWeight::kUntie). On an Error the model is
/// untouched.
class QATQuantizer {
 public:
  virtual ~QATQuantizer() = default;

  /// Full precision -> fake-quantized. Throws PrepareError.
  QuantizationReport prepare(torch::nn::Module& model) const;
  /// The report that prepare() would give, for a model with children. Nothing is changed and no
  /// weight is read: shapes without memory (the meta device) will do. That nothing can be quantized
  /// is no error here. Throws PrepareError.
  QuantizationReport plan(torch::nn::Module& model) const;
  /// Fake-quantized -> int4 codes and scales, the very ones that the fake-quantized forward used.
  /// An embedding that TiedWeight::kBoth prepared gets the values of fq(W) as its own weight, in
  /// the dtype it has. Linears that prepare() skipped stay as they are. Throws Error when nothing
  /// is prepared.
  QuantizationReport convert(torch::nn::Module& model) const;

  template <class Impl>
  QuantizationReport prepare(const torch::nn::ModuleHolder<Impl>& model) const {
    return prepare(*model.ptr());
  }
  template <class Impl>
  QuantizationReport convert(const torch::nn::ModuleHolder<Impl>& model) const {
    return convert(*model.ptr());
  }

  const nn::QuantizationSpec& spec() const { return spec_; }
  const SwapOptions& options() const { return options_; }

 protected:
  QATQuantizer(nn::QuantizationSpec spec, SwapOptions options)
      : spec_(spec), options_(std::move(options)) {}

 private:
  nn::QuantizationSpec spec_;
  SwapOptions options_;
};

/// 8da4w: int8 dynamic per-token activations, symmetric int4 grouped weights. The defaults are
/// those of torchao.quantization.qat.Int8DynActInt4WeightQATQuantizer.
class Int8DynActInt4WeightQATQuantizer : public QATQuantizer {
 public:
  explicit Int8DynActInt4WeightQATQuantizer(int64_t groupsize = 256,
                                            at::ScalarType scales_precision = at::kFloat,
                                            SwapOptions options = {});
};

/// 4w: int4 grouped weights only. The defaults are those of
/// torchao.quantization.qat.Int4WeightOnlyQATQuantizer: tinygemm's asymmetric grid with bfloat16
/// scales. Unlike there, Linears with a bias are quantized too. `kSymmetric` trains the grid that
/// every export format takes.
class Int4WeightOnlyQATQuantizer : public QATQuantizer {
 public:
  explicit Int4WeightOnlyQATQuantizer(int64_t groupsize = 256,
                                      nn::WeightGrid grid = nn::WeightGrid::kAsymmetric,
                                      at::ScalarType scales_precision = at::kBFloat16,
                                      SwapOptions options = {});
};

/// A quantizer for any spec, for code that reads the scheme from a file.
class SpecQATQuantizer : public QATQuantizer {
 public:
  explicit SpecQATQuantizer(nn::QuantizationSpec spec, SwapOptions options = {})
      : QATQuantizer(spec, std::move(options)) {}
};

/// Turns fake quantization on or off in every prepared Linear of `model`, and with `weights` in the
/// embeddings that share their weight; returns how many Linears there are.
int64_t set_fake_quant_enabled(torch::nn::Module& model, bool activations, bool weights);
inline int64_t enable_fake_quant(torch::nn::Module& model) {
  return set_fake_quant_enabled(model, true, true);
}
inline int64_t disable_fake_quant(torch::nn::Module& model) {
  return set_fake_quant_enabled(model, false, false);
}

}  // namespace nibble
