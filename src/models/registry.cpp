#include <nibble/core/error.h>
#include <nibble/models/registry.h>

#include <nlohmann/json.hpp>

#include <mutex>
#include <utility>

namespace nibble::models {

/// Calls add_<stem>() of every file in architectures/; the build generates it.
void add_library_architectures(ArchitectureMap& architectures);

namespace {

struct Registry {
  Registry() { add_library_architectures(architectures); }

  std::mutex mutex;
  ArchitectureMap architectures;
};

Registry& registry() {
  static Registry instance;
  return instance;
}

std::string architecture_of(const ConfigReader& reader) {
  const auto found = reader.json().find("architectures");
  const bool one_name = found != reader.json().end() && found->is_array() && found->size() == 1 &&
                        found->front().is_string();
  if (!one_name) reader.reject("architectures", "it must be a list with one name");
  return found->front().get<std::string>();
}

ModelFactory find_factory(const ConfigReader& reader) {
  const std::string name = architecture_of(reader);
  {
    const std::lock_guard lock(registry().mutex);
    const auto found = registry().architectures.find(name);
    if (found != registry().architectures.end()) return found->second;
  }
  std::string supported;
  for (const std::string& known : supported_architectures()) supported += " " + known;
  reader.reject("architectures",
                "supported:" + supported +
                    ". A further one is a file in src/models/architectures/, or a call of "
                    "nibble::models::register_architecture()");
}

}  // namespace

void register_architecture(const std::string& name, ModelFactory factory) {
  const std::lock_guard lock(registry().mutex);
  const bool added = registry().architectures.emplace(name, std::move(factory)).second;
  NIBBLE_CHECK(added, "the architecture ", name, " is registered already");
}

std::vector<std::string> supported_architectures() {
  const std::lock_guard lock(registry().mutex);
  std::vector<std::string> names;
  for (const auto& entry : registry().architectures) names.push_back(entry.first);
  return names;
}

std::shared_ptr<CausalLMImpl> make_model(const nlohmann::json& config, const std::string& origin,
                                         const ParameterSource& source) {
  const ConfigReader reader(config, origin);
  return find_factory(reader)(reader, source);
}

}  // namespace nibble::models
