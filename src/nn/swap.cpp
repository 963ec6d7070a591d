#include <nibble/core/error.h>
#include <nibble/nn/fake_quant_linear.h>
#include <nibble/nn/swap.h>

#include <torch/nn/modules/container/any.h>
#include <torch/nn/modules/container/moduledict.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include <typeinfo>
#include <unordered_map>
#include <unordered_set>

namespace nibble::nn {
namespace {

using torch::nn::Module;

bool is_linear(const Module& module) {
  return dynamic_cast<const LinearImpl*>(&module) != nullptr ||
         dynamic_cast<const torch::nn::LinearImpl*>(&module) != nullptr;
}

LinearSite::Kind kind_of(const Module& module) {
  if (dynamic_cast<const LinearImpl*>(&module) != nullptr) return LinearSite::Kind::kNibble;
  return typeid(module) == typeid(torch::nn::LinearImpl) ? LinearSite::Kind::kPlain
                                                         : LinearSite::Kind::kSubclass;
}

/// Calls visit(slot) for every reference that a container keeps beside the registry. A slot is an
/// AnyModule (Sequential) or a shared_ptr<Module> (ModuleList, ModuleDict).
template <class Visit>
void visit_slots(Module& parent, const Visit& visit) {
  if (auto* sequential = dynamic_cast<torch::nn::SequentialImpl*>(&parent)) {
    for (torch::nn::AnyModule& slot : *sequential) visit(slot);
  } else if (auto* list = dynamic_cast<torch::nn::ModuleListImpl*>(&parent)) {
    for (std::shared_ptr<Module>& slot : *list) visit(slot);
  } else if (auto* dict = dynamic_cast<torch::nn::ModuleDictImpl*>(&parent)) {
    for (auto& item : *dict) visit(item.value());
  }
}

const Module* module_in(const std::shared_ptr<Module>& slot) { return slot.get(); }
const Module* module_in(const torch::nn::AnyModule& slot) { return slot.ptr().get(); }

std::unordered_set<Module*> distinct_parents(const LinearSite& site) {
  std::unordered_set<Module*> parents;
  for (const auto& holder : site.holders) parents.insert(holder.parent);
  return parents;
}

class LinearFinder {
 public:
  void visit(Module& parent, const std::string& prefix) {
    if (!visited_.insert(&parent).second) return;
    for (const auto& item : parent.named_children()) {
      const std::shared_ptr<Module>& child = item.value();
      if (child == nullptr) continue;
      const std::string path = prefix.empty() ? item.key() : prefix + "." + item.key();
      if (is_linear(*child)) {
        add(parent, item.key(), path, child);
      } else {
        visit(*child, path);
      }
    }
  }
  std::vector<LinearSite> take() { return std::move(sites_); }

 private:
  void add(Module& parent, const std::string& key, const std::string& path,
           const std::shared_ptr<Module>& child) {
    const auto [known, is_new] = index_.try_emplace(child.get(), sites_.size());
    if (is_new) sites_.push_back({path, kind_of(*child), child, {}});
    sites_[known->second].holders.push_back({&parent, key});
  }

  std::unordered_set<Module*> visited_;
  std::unordered_map<Module*, size_t> index_;
  std::vector<LinearSite> sites_;
};

}  // namespace

torch::Tensor LinearSite::weight() const {
  const auto* ours = dynamic_cast<const LinearImpl*>(module.get());
  return ours != nullptr ? ours->weight : dynamic_cast<torch::nn::LinearImpl&>(*module).weight;
}

torch::Tensor LinearSite::bias() const {
  const auto* ours = dynamic_cast<const LinearImpl*>(module.get());
  return ours != nullptr ? ours->bias : dynamic_cast<torch::nn::LinearImpl&>(*module).bias;
}

int64_t LinearSite::in_features() const {
  const auto* ours = dynamic_cast<const LinearImpl*>(module.get());
  return ours != nullptr ? ours->options.in_features()
                         : dynamic_cast<torch::nn::LinearImpl&>(*module).options.in_features();
}

int64_t LinearSite::out_features() const {
  const auto* ours = dynamic_cast<const LinearImpl*>(module.get());
  return ours != nullptr ? ours->options.out_features()
                         : dynamic_cast<torch::nn::LinearImpl&>(*module).options.out_features();
}

bool LinearSite::has_hidden_owner() const {
  int64_t explained = 1 + static_cast<int64_t>(holders.size());  // `module` and the registries
  for (Module* parent : distinct_parents(*this)) {
    visit_slots(*parent, [&](auto& slot) { explained += module_in(slot) == module.get(); });
  }
  return module.use_count() > explained;
}

template <class Impl>
void LinearSite::replace_with(const std::shared_ptr<Impl>& replacement) {
  for (Module* parent : distinct_parents(*this)) {
    visit_slots(*parent, [&](auto& slot) {
      if (module_in(slot) != module.get()) return;
      using Slot = std::remove_reference_t<decltype(slot)>;
      slot = Slot(replacement);
    });
  }
  for (const auto& holder : holders) holder.parent->replace_module(holder.key, replacement);
  module = replacement;
  kind = Kind::kNibble;
}

template void LinearSite::replace_with(const std::shared_ptr<FakeQuantLinearImpl>&);
template void LinearSite::replace_with(const std::shared_ptr<QuantizedLinearImpl>&);

void check_finite_weight(const LinearSite& site) {
  const torch::Tensor weight = site.weight();
  NIBBLE_CHECK(!weight.defined() || weight.isfinite().all().item<bool>(), site.path,
               ".weight holds NaN or infinite values, which no int4 code stands for");
}

std::vector<LinearSite> find_linears(Module& root) {
  LinearFinder finder;
  finder.visit(root, "");
  return finder.take();
}

}  // namespace nibble::nn
