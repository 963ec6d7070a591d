#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::models {

/// Typed, checked access to the keys of a config.json. Every reader throws Error naming the file,
/// the key, its value and what is allowed.
class ConfigReader {
 public:
  /// `config` must outlive the reader; `origin` names the file in messages.
  ConfigReader(const nlohmann::json& config, std::string origin);

  /// A key that is null counts as absent here and in all readers.
  bool has(const char* key) const;
  /// For keys whose null says something else ("off") than their absence (the default).
  bool contains(const char* key) const;
  /// An integer from 1 to `max`.
  int64_t size(const char* key, int64_t max) const;
  int64_t size_or(const char* key, int64_t max, int64_t fallback) const;
  /// An integer from 0 to `max`.
  int64_t count_or(const char* key, int64_t max, int64_t fallback) const;
  /// A finite number above 0.
  double positive_number_or(const char* key, double fallback) const;
  /// `count` finite numbers above 0.
  std::vector<double> positive_numbers(const char* key, size_t count) const;
  /// `count` strings.
  std::vector<std::string> texts(const char* key, size_t count) const;
  bool boolean_or(const char* key, bool fallback) const;
  std::string text_or(const char* key, const std::string& fallback) const;
  /// What stands for the string under `key` (or for `fallback`) in `values`.
  template <class Value>
  Value one_of(const char* key, const char* fallback,
               const std::map<std::string, Value>& values) const {
    const auto found = values.find(text_or(key, fallback));
    if (found != values.end()) return found->second;
    std::string allowed = "supported:";
    for (const auto& entry : values) allowed += " " + entry.first;
    reject(key, allowed);
  }
  /// One token id, a list of them, or absent (empty).
  std::vector<int64_t> token_ids(const char* key) const;
  /// A reader of the object under `key`; its messages name "key.inner".
  ConfigReader object(const char* key) const;

  /// Throws Error "<origin>: <key> is <value>; <allowed>".
  [[noreturn]] void reject(const char* key, std::string_view allowed) const;

  const std::string& origin() const { return origin_; }
  const nlohmann::json& json() const { return *config_; }

 private:
  const nlohmann::json* find(const char* key) const;
  int64_t integer(const char* key, int64_t min, int64_t max) const;
  const nlohmann::json& list(const char* key, size_t count, std::string_view of_what) const;

  const nlohmann::json* config_;
  std::string origin_;
  std::string prefix_;
};

}  // namespace nibble::models
