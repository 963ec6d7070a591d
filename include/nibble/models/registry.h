#pragma once

#include <nibble/models/causal_lm.h>
#include <nibble/models/config.h>
#include <nibble/models/parameter_source.h>

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nibble::models {

/// Builds a model from its config.json. Throws Error for a configuration it cannot represent.
using ModelFactory = std::function<std::shared_ptr<CausalLMImpl>(const ConfigReader& config,
                                                                 const ParameterSource& source)>;

/// From the names in config.json's `architectures`.
using ArchitectureMap = std::map<std::string, ModelFactory>;

/// Adds an architecture that the library does not have; call it before the model is loaded. Throws
/// Error when the name is taken. Thread-safe.
///
/// The library's own are one file each: src/models/architectures/<stem>.cpp defines
/// `void nibble::models::add_<stem>(ArchitectureMap&)`, which the build finds and calls.
void register_architecture(const std::string& name, ModelFactory factory);

/// The names that make_model() accepts, sorted.
std::vector<std::string> supported_architectures();

/// The model that a config.json describes. An unknown architecture is an Error that says which are
/// supported and how one is added. `origin` names the file in messages.
std::shared_ptr<CausalLMImpl> make_model(const nlohmann::json& config, const std::string& origin,
                                         const ParameterSource& source);

}  // namespace nibble::models
