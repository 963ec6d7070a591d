#pragma once

#include <nibble/text/tokenizer.h>

#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

/// A tokenizer.json with one token a byte, <0x00> .. <0xFF> with the ids 0 .. 255, then `tokens`
/// with the ids from 256 on, and nothing else: what the components do shows in the ids.
inline nlohmann::json tiny_tokenizer(const std::vector<std::string>& tokens = {},
                                     const nlohmann::json& merges = nlohmann::json::array()) {
  nlohmann::json vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    vocab[name] = byte;
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    vocab[tokens[i]] = 256 + i;
  }
  return {
      {"version", "1.0"},
      {"added_tokens", nlohmann::json::array()},
      {"model", {{"type", "BPE"}, {"byte_fallback", true}, {"vocab", vocab}, {"merges", merges}}}};
}

inline nlohmann::json added_token(int id, const std::string& content,
                                  const nlohmann::json& flags = nlohmann::json::object()) {
  nlohmann::json token = {{"id", id},        {"content", content}, {"single_word", false},
                          {"lstrip", false}, {"rstrip", false},    {"normalized", false},
                          {"special", false}};
  token.update(flags);
  return token;
}

inline Tokenizer make_tokenizer(const nlohmann::json& json) {
  return Tokenizer::from_json(json.dump(), "tiny.json");
}

/// The text that the normalizer of `json` makes of `text`, byte tokens joined.
inline std::string bytes_of(const Tokenizer& tokenizer, std::string_view text) {
  std::string bytes;
  for (const int64_t id : tokenizer.encode_ids(text, false)) {
    bytes += static_cast<char>(id);
  }
  return bytes;
}

}  // namespace nibble::text
