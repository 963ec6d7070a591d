#include <nibble/core/error.h>
#include <nibble/nn/embedding.h>
#include <nibble/nn/fake_quant_linear.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/quantizer.h>

#include <torch/nn/modules/linear.h>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <unordered_map>

namespace nibble {
namespace {

using nn::LinearSite;
using nn::LinearState;
using About = PrepareError::About;
using torch::nn::Module;

std::string last_component(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// Whether `rule` is the path, or the last component of the path, of a Linear or of a module that
/// holds it.
bool matches(const std::string& rule, const std::string& path) {
  if (path == rule || path.starts_with(rule + ".")) return true;
  return rule.find('.') == std::string::npos &&
         (path.ends_with("." + rule) || path.find("." + rule + ".") != std::string::npos);
}

nn::LinearImpl* nibble_linear(const LinearSite& site) {
  return dynamic_cast<nn::LinearImpl*>(site.module.get());
}

/// The parameters that modules other than Linears use.
class WeightUsers {
 public:
  explicit WeightUsers(Module& root) {
    root.apply([this](Module& module) {
      if (is_linear(module)) return;
      for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
        others_[parameter.value().unsafeGetTensorImpl()].push_back(&module);
      }
    });
  }
  /// The modules that share `weight`.
  std::vector<Module*> tied_to(const torch::Tensor& weight) const {
    const auto found = others_.find(weight.unsafeGetTensorImpl());
    return found == others_.end() ? std::vector<Module*>() : found->second;
  }

 private:
  static bool is_linear(const Module& module) {
    return dynamic_cast<const nn::LinearImpl*>(&module) != nullptr ||
           dynamic_cast<const torch::nn::LinearImpl*>(&module) != nullptr;
  }

  std::unordered_map<const at::TensorImpl*, std::vector<Module*>> others_;
};

/// What prepare() is going to do with one Linear.
struct Plan {
  LinearSite site;
  bool swap = false;
  bool untie = false;
  std::vector<nn::EmbeddingImpl*> embeddings;  ///< to be prepared too
  std::string reason;
};

LayerReport report_of(const Plan& plan) {
  return {plan.site.path, plan.site.in_features(), plan.site.out_features(), plan.swap,
          plan.reason};
}

/// Throws PrepareError with the remaining arguments concatenated.
template <class... Args>
[[noreturn]] void refuse(About about, const Args&... message) {
  throw PrepareError(about, detail::concat(message...));
}

/// check_spec() with its errors as PrepareError.
nn::QuantizationSpec checked_spec(const nn::QuantizationSpec& spec, int64_t in_features) {
  try {
    return nn::check_spec(spec, in_features);
  } catch (const Error& error) {
    const bool fits = spec.group_size == nn::kPerChannel ||
                      (spec.group_size > 0 && in_features % spec.group_size == 0);
    refuse(fits ? About::kSpec : About::kGroupSize, error.what());
  }
}

void check_not_quantized(const nn::LinearImpl* linear, const std::string& path) {
  if (linear == nullptr || linear->weight.defined()) return;
  refuse(About::kModel, path, " is quantized already; prepare() needs full-precision weights");
}

std::string sizes_that_fit(int64_t common_divisor) {
  std::ostringstream out;
  for (int64_t size = 16; size <= std::min<int64_t>(common_divisor, 1024); ++size) {
    if (common_divisor % size == 0) out << (out.tellp() > 0 ? ", " : "") << size;
  }
  return out.tellp() > 0 ? out.str() : std::to_string(common_divisor);
}

class PreparePlanner {
 public:
  PreparePlanner(Module& root, const nn::QuantizationSpec& spec, const SwapOptions& options)
      : root_(root), spec_(spec), options_(options), weight_users_(root) {}

  std::vector<Plan> plan() {
    if (dynamic_cast<torch::nn::LinearImpl*>(&root_) != nullptr) {
      refuse(About::kModel,
             "the model is itself a torch::nn::Linear, which cannot be replaced from outside; "
             "make it a nibble::nn::Linear or put it into a parent module");
    }
    std::vector<Plan> plans;
    for (LinearSite& site : nn::find_linears(root_)) plans.push_back(plan_one(std::move(site)));
    check_rules_used(plans);
    check_divisible(plans);
    for (const Plan& plan : plans) check_replaceable(plan);
    return plans;
  }

 private:
  Plan plan_one(LinearSite site) {
    Plan plan;
    plan.site = std::move(site);
    const auto& rules = options_.modules_to_not_convert;
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const std::string& name) {
      return matches(name, plan.site.path);
    });
    if (rule != rules.end()) {
      plan.reason = "listed in modules_to_not_convert as '" + *rule + "'";
      return plan;
    }
    if (last_component(plan.site.path) == "lm_head" && !options_.quantize_lm_head) {
      plan.reason = "lm_head stays in full precision by default";
      return plan;
    }
    check_not_quantized(nibble_linear(plan.site), plan.site.path);
    const std::vector<Module*> partners = weight_users_.tied_to(plan.site.weight());
    if (!partners.empty() && options_.tied_weight == TiedWeight::kKeep) {
      plan.reason = "its weight is tied to a " + partners.front()->name();
      return plan;
    }
    plan.untie = !partners.empty() && options_.tied_weight == TiedWeight::kUntie;
    if (options_.tied_weight == TiedWeight::kBoth) {
      plan.embeddings = embeddings_among(partners, plan.site.path);
    }
    if (spec_.group_size > 0 && plan.site.in_features() % spec_.group_size != 0) {
      plan.reason = detail::concat("group size ", spec_.group_size, " does not divide in_features ",
                                   plan.site.in_features());
      unfit_.push_back(plan.site.path);
      common_divisor_ = std::gcd(common_divisor_, plan.site.in_features());
      return plan;
    }
    common_divisor_ = std::gcd(common_divisor_, plan.site.in_features());
    plan.swap = true;
    plan.reason = nn::to_string(checked_spec(spec_, plan.site.in_features()));
    if (!plan.embeddings.empty()) plan.reason += ", with the embedding that shares its weight";
    return plan;
  }

  static std::vector<nn::EmbeddingImpl*> embeddings_among(const std::vector<Module*>& partners,
                                                          const std::string& path) {
    std::vector<nn::EmbeddingImpl*> embeddings;
    for (Module* partner : partners) {
      embeddings.push_back(dynamic_cast<nn::EmbeddingImpl*>(partner));
      if (embeddings.back() != nullptr) continue;
      refuse(About::kTiedWeight, "the weight of ", path, " is tied to a ", partner->name(),
             ", whose use of it cannot be quantized. Make that a nibble::nn::Embedding, or untie "
             "or keep the weight");
    }
    return embeddings;
  }

  void check_rules_used(const std::vector<Plan>& plans) const {
    for (const std::string& rule : options_.modules_to_not_convert) {
      const bool used = std::any_of(plans.begin(), plans.end(), [&](const Plan& plan) {
        return matches(rule, plan.site.path);
      });
      if (used) continue;
      refuse(About::kModulesToNotConvert, "modules_to_not_convert names '", rule,
             "', but no Linear of the model, and no module that holds one, has that path or last "
             "component");
    }
  }

  void check_divisible(const std::vector<Plan>& plans) const {
    if (unfit_.empty() || options_.allow_unquantized_layers) return;
    refuse(About::kGroupSize, "group size ", spec_.group_size, " does not divide in_features of ",
           unfit_.size(), " of ", plans.size(), " Linears (first: ", unfit_.front(),
           "). Group sizes that fit all of them: ", sizes_that_fit(common_divisor_),
           ". To leave such layers in full precision, set allow_unquantized_layers or list them in "
           "modules_to_not_convert");
  }

  static void check_replaceable(const Plan& plan) {
    if (!plan.swap || plan.site.kind == LinearSite::Kind::kNibble) return;
    if (plan.site.kind == LinearSite::Kind::kSubclass) {
      refuse(About::kModel, plan.site.path, " is a class derived from torch::nn::Linear (",
             plan.site.module->name(),
             "); replacing it would drop its own code. Derive it from nibble::nn::LinearImpl, or "
             "list it in modules_to_not_convert");
    }
    if (plan.site.has_hidden_owner()) {
      refuse(About::kModel, plan.site.path,
             " is a torch::nn::Linear that something outside the module registry holds too, most "
             "likely a member of that type, which would go on calling the unquantized module. "
             "Declare the member as nibble::nn::Linear");
    }
  }

  Module& root_;
  const nn::QuantizationSpec& spec_;
  const SwapOptions& options_;
  WeightUsers weight_users_;
  std::vector<std::string> unfit_;
  int64_t common_divisor_ = 0;
};

void apply(Plan& plan, const nn::QuantizationSpec& spec) {
  if (nn::LinearImpl* ours = nibble_linear(plan.site)) {
    ours->prepare(spec);
  } else {
    const bool training = plan.site.module->is_training();
    auto replacement =
        std::make_shared<nn::FakeQuantLinearImpl>(plan.site.weight(), plan.site.bias(), spec);
    replacement->train(training);
    plan.site.replace_with(replacement);
  }
  if (plan.untie) nibble_linear(plan.site)->untie_weight();
  for (nn::EmbeddingImpl* embedding : plan.embeddings) embedding->prepare(spec);
}

}  // namespace

QuantizationReport QATQuantizer::prepare(Module& model) const {
  if (auto* root = dynamic_cast<nn::LinearImpl*>(&model)) {
    check_not_quantized(root, "the model");
    root->prepare(checked_spec(spec_, root->options.in_features()));
    return {{{"", root->options.in_features(), root->options.out_features(), true,
              nn::to_string(*root->spec())}}};
  }
  std::vector<Plan> plans = PreparePlanner(model, spec_, options_).plan();
  if (std::none_of(plans.begin(), plans.end(), [](const Plan& plan) { return plan.swap; })) {
    refuse(About::kModel, "prepare() found no Linear to quantize among ", plans.size(),
           " in the model");
  }
  QuantizationReport report;
  for (Plan& plan : plans) {
    if (plan.swap) apply(plan, spec_);
    report.layers.push_back(report_of(plan));
  }
  return report;
}

QuantizationReport QATQuantizer::plan(Module& model) const {
  QuantizationReport report;
  for (const Plan& plan : PreparePlanner(model, spec_, options_).plan()) {
    report.layers.push_back(report_of(plan));
  }
  return report;
}

QuantizationReport QATQuantizer::convert(Module& model) const {
  if (auto* root = dynamic_cast<nn::LinearImpl*>(&model)) {
    root->convert();
    return {{{"", root->options.in_features(), root->options.out_features(), true,
              nn::to_string(*root->spec())}}};
  }
  std::vector<LinearSite> sites = nn::find_linears(model);
  const auto prepared = [](const LinearSite& site) {
    const nn::LinearImpl* ours = nibble_linear(site);
    return ours != nullptr && ours->state() == LinearState::kFakeQuantized;
  };
  NIBBLE_CHECK(std::any_of(sites.begin(), sites.end(), prepared),
               "convert() found no prepared Linear among ", sites.size(),
               "; call prepare() and train first");
  for (const LinearSite& site : sites) {
    if (prepared(site)) nn::check_finite_weight(site);
  }
  QuantizationReport report;
  for (LinearSite& site : sites) {
    LayerReport layer{site.path, site.in_features(), site.out_features(), prepared(site),
                      "not prepared"};
    if (layer.swapped) {
      nibble_linear(site)->convert();
      layer.reason = nn::to_string(*nibble_linear(site)->spec());
      const bool ours_to_replace =
          dynamic_cast<nn::FakeQuantLinearImpl*>(site.module.get()) != nullptr &&
          !site.has_hidden_owner();
      if (ours_to_replace) {
        site.replace_with(std::make_shared<nn::QuantizedLinearImpl>(*nibble_linear(site)));
      }
    }
    report.layers.push_back(std::move(layer));
  }
  model.apply([](Module& module) {
    auto* embedding = dynamic_cast<nn::EmbeddingImpl*>(&module);
    if (embedding != nullptr && embedding->spec().has_value()) embedding->convert();
  });
  return report;
}

Int8DynActInt4WeightQATQuantizer::Int8DynActInt4WeightQATQuantizer(int64_t groupsize,
                                                                   at::ScalarType scales_precision,
                                                                   SwapOptions options)
    : QATQuantizer({nn::Scheme::k8da4w, groupsize, scales_precision, nn::WeightGrid::kSymmetric},
                   std::move(options)) {}

Int4WeightOnlyQATQuantizer::Int4WeightOnlyQATQuantizer(int64_t groupsize, nn::WeightGrid grid,
                                                       at::ScalarType scales_precision,
                                                       SwapOptions options)
    : QATQuantizer({nn::Scheme::k4w, groupsize, scales_precision, grid}, std::move(options)) {}

int64_t set_fake_quant_enabled(Module& model, bool activations, bool weights) {
  int64_t prepared = 0;
  model.apply([&](Module& module) {
    if (auto* embedding = dynamic_cast<nn::EmbeddingImpl*>(&module)) {
      embedding->set_fake_quant_enabled(weights);
    }
    auto* linear = dynamic_cast<nn::LinearImpl*>(&module);
    if (linear == nullptr || linear->state() != LinearState::kFakeQuantized) return;
    linear->set_fake_quant_enabled(activations, weights);
    ++prepared;
  });
  return prepared;
}

}  // namespace nibble
