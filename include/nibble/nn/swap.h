#pragma once

#include <nibble/nn/linear.h>

#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

namespace nibble::nn {

/// A Linear in a module tree with every place of the tree that holds it.
struct LinearSite {
  enum class Kind {
    kNibble,    ///< nibble::nn::LinearImpl: switches in place
    kPlain,     ///< exactly torch::nn::LinearImpl: has to be replaced
    kSubclass,  ///< derived from torch::nn::LinearImpl: a replacement would lose its own code
  };
  struct Holder {
    torch::nn::Module* parent;
    std::string key;
  };

  std::string path;  ///< the first path that leads to it, "model.layers.0.fc"
  Kind kind = Kind::kNibble;
  std::shared_ptr<torch::nn::Module> module;
  std::vector<Holder> holders;

  torch::Tensor weight() const;
  torch::Tensor bias() const;
  int64_t in_features() const;
  int64_t out_features() const;

  /// True when something outside the tree's registry and containers owns the module too: most often
  /// a member of type torch::nn::Linear, which would go on calling the replaced module. Raw and
  /// weak pointers cannot be seen.
  bool has_hidden_owner() const;
  /// Puts `replacement` into every holder: registry, and the slots of Sequential, ModuleList and
  /// ModuleDict, which keep a reference of their own.
  template <class Impl>
  void replace_with(const std::shared_ptr<Impl>& replacement);
};

/// Every Linear below `root`, each once, in registration order; `root` itself is not among them.
std::vector<LinearSite> find_linears(torch::nn::Module& root);

/// Throws Error naming the module when its weight holds a NaN or an infinity: no int4 code stands
/// for either. A quantized Linear passes.
void check_finite_weight(const LinearSite& site);

}  // namespace nibble::nn
