#include <nibble/models/causal_lm.h>

#include <nlohmann/json.hpp>

namespace nibble::models {

CausalLMImpl::CausalLMImpl(ModelConfig config, const nlohmann::json& config_json)
    : config_(std::move(config)),
      config_json_(std::make_shared<const nlohmann::json>(config_json)) {}

}  // namespace nibble::models
