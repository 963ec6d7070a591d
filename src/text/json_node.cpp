#include "json_node.h"

#include <limits>

namespace nibble::text {

JsonNode JsonNode::at(std::string_view key) const {
  if (!value_->is_object()) {
    fail("expected an object, got ", value_->type_name());
  }
  const auto found = value_->find(key);
  if (found == value_->end()) {
    fail("the member \"", key, "\" is missing");
  }
  return {*found, path_ + "." + std::string(key)};
}

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  if (!value_->is_object()) {
    fail("expected an object, got ", value_->type_name());
  }
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) {
    return std::nullopt;
  }
  return JsonNode(*found, path_ + "." + std::string(key));
}

std::vector<JsonNode> JsonNode::elements() const {
  if (!value_->is_array()) {
    fail("expected an array, got ", value_->type_name());
  }
  std::vector<JsonNode> nodes;
  nodes.reserve(value_->size());
  for (const nlohmann::json& element : *value_) {
    nodes.emplace_back(element, path_ + "[" + std::to_string(nodes.size()) + "]");
  }
  return nodes;
}

std::string JsonNode::string() const {
  if (!value_->is_string()) {
    fail("expected a string, got ", value_->type_name());
  }
  return value_->get<std::string>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) {
    fail("expected true or false, got ", value_->type_name());
  }
  return value_->get<bool>();
}

uint32_t JsonNode::uint32() const {
  constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
  if (!value_->is_number_unsigned() || value_->get<uint64_t>() > kMax) {
    fail("expected an integer in 0 .. ", kMax, ", got ",
         value_->is_number() ? value_->dump() : value_->type_name());
  }
  return static_cast<uint32_t>(value_->get<uint64_t>());
}

bool JsonNode::boolean_or(std::string_view key, bool fallback) const {
  const auto node = find(key);
  return node ? node->boolean() : fallback;
}

}  // namespace nibble::text
