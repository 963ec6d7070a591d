#include <nibble/core/error.h>
#include <nibble/models/config_reader.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <utility>

namespace nibble::models {

ConfigReader::ConfigReader(const nlohmann::json& config, std::string origin)
    : config_(&config), origin_(std::move(origin)) {
  NIBBLE_CHECK(config.is_object(), origin_, ": must be a JSON object, got ", config.type_name());
}

const nlohmann::json* ConfigReader::find(const char* key) const {
  const auto found = config_->find(key);
  return found == config_->end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(const char* key) const { return find(key) != nullptr; }

bool ConfigReader::contains(const char* key) const { return config_->contains(key); }

void ConfigReader::reject(const char* key, std::string_view allowed) const {
  const nlohmann::json* value = find(key);
  const std::string text =
      value ? value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) : "missing";
  fail(origin_, ": ", prefix_, key, " is ", text, "; ", allowed);
}

int64_t ConfigReader::integer(const char* key, int64_t min, int64_t max) const {
  const nlohmann::json* value = find(key);
  const bool fits = value && value->is_number_integer() &&
                    (value->is_number_unsigned() ? value->get<uint64_t>() <= uint64_t(max)
                                                 : value->get<int64_t>() <= max) &&
                    value->get<int64_t>() >= min;
  if (!fits) reject(key, detail::concat("it must be an integer from ", min, " to ", max));
  return value->get<int64_t>();
}

int64_t ConfigReader::size(const char* key, int64_t max) const { return integer(key, 1, max); }

int64_t ConfigReader::count_or(const char* key, int64_t max, int64_t fallback) const {
  return has(key) ? integer(key, 0, max) : fallback;
}

int64_t ConfigReader::size_or(const char* key, int64_t max, int64_t fallback) const {
  return has(key) ? size(key, max) : fallback;
}

double ConfigReader::positive_number_or(const char* key, double fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return fallback;
  const double number = value->is_number() ? value->get<double>() : 0.0;
  if (!std::isfinite(number) || number <= 0.0) reject(key, "it must be a number above 0");
  return number;
}

const nlohmann::json& ConfigReader::list(const char* key, size_t count,
                                         std::string_view of_what) const {
  const nlohmann::json* value = find(key);
  if (!value || !value->is_array() || value->size() != count) {
    reject(key, detail::concat("it must be a list of ", count, " ", of_what));
  }
  return *value;
}

std::vector<double> ConfigReader::positive_numbers(const char* key, size_t count) const {
  constexpr std::string_view kWhat = "numbers above 0";
  std::vector<double> numbers;
  for (const nlohmann::json& value : list(key, count, kWhat)) {
    numbers.push_back(value.is_number() ? value.get<double>() : 0.0);
    if (!std::isfinite(numbers.back()) || numbers.back() <= 0.0) {
      reject(key, detail::concat("it must be a list of ", count, " ", kWhat));
    }
  }
  return numbers;
}

std::vector<std::string> ConfigReader::texts(const char* key, size_t count) const {
  constexpr std::string_view kWhat = "strings";
  std::vector<std::string> texts;
  for (const nlohmann::json& value : list(key, count, kWhat)) {
    if (!value.is_string()) reject(key, detail::concat("it must be a list of ", count, " ", kWhat));
    texts.push_back(value.get<std::string>());
  }
  return texts;
}

bool ConfigReader::boolean_or(const char* key, bool fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) reject(key, "it must be true or false");
  return value->get<bool>();
}

std::string ConfigReader::text_or(const char* key, const std::string& fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return fallback;
  if (!value->is_string()) reject(key, "it must be a string");
  return value->get<std::string>();
}

std::vector<int64_t> ConfigReader::token_ids(const char* key) const {
  const nlohmann::json* value = find(key);
  if (!value) return {};
  std::vector<int64_t> ids;
  for (const nlohmann::json& id : value->is_array() ? *value : nlohmann::json::array({*value})) {
    if (!id.is_number_integer()) reject(key, "it must be a token id or a list of token ids");
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

ConfigReader ConfigReader::object(const char* key) const {
  const nlohmann::json* value = find(key);
  if (!value || !value->is_object()) reject(key, "it must be an object");
  ConfigReader inner(*value, origin_);
  inner.prefix_ = prefix_ + key + ".";
  return inner;
}

}  // namespace nibble::models
