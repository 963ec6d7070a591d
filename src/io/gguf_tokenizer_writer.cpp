#include <nibble/core/error.h>
#include <nibble/io/gguf_model.h>
#include <nibble/io/json.h>

#include <nlohmann/json.hpp>

#include <utility>

#include "gguf_pre_tokenizers.h"
#include "gguf_token_types.h"

namespace nibble::io {
namespace {

using nlohmann::json;

constexpr std::string_view kKeys = "tokenizer.ggml.";

/// The tokens in order of their ids, with their types.
class TokenTable {
 public:
  TokenTable(const json& tokenizer, int64_t vocab_size, std::string origin)
      : origin_(std::move(origin)), texts_(static_cast<size_t>(vocab_size)) {
    types_.assign(texts_.size(), kUnusedToken);
    for (const auto& [text, id] : tokenizer.at("model").at("vocab").items()) {
      set(id, text, kNormalToken);
    }
    for (const json& token : tokenizer.value("added_tokens", json::array())) {
      set(token.at("id"), token.at("content").get<std::string>(),
          token.value("special", false) ? kControlToken : kUserDefinedToken);
    }
    // Models pad their embedding; llama.cpp wants a token for every row.
    for (size_t id = 0; id < texts_.size(); ++id) {
      if (types_[id] == kUnusedToken) texts_[id] = "[PAD" + std::to_string(id) + "]";
    }
  }

  const std::vector<std::string>& texts() const { return texts_; }
  const std::vector<int32_t>& types() const { return types_; }
  std::optional<int64_t> find(const std::string& text) const {
    const auto found = ids_.find(text);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  void set(const json& id_value, const std::string& text, int32_t type) {
    const int64_t id = id_value.get<int64_t>();
    NIBBLE_CHECK(id >= 0 && id < static_cast<int64_t>(texts_.size()), origin_, ": token \"", text,
                 "\" has the id ", id, ", the model has ", texts_.size(), " rows");
    texts_[static_cast<size_t>(id)] = text;
    types_[static_cast<size_t>(id)] = type;
    ids_[text] = id;
  }

  std::string origin_;
  std::vector<std::string> texts_;
  std::vector<int32_t> types_;
  std::map<std::string, int64_t> ids_;
};

std::vector<std::string> merges_of(const json& tokenizer) {
  std::vector<std::string> merges;
  for (const json& merge : tokenizer.at("model").value("merges", json::array())) {
    merges.push_back(merge.is_string()
                         ? merge.get<std::string>()
                         : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
  }
  return merges;
}

/// Whether a text begins with the token `bos` after the post-processor.
bool puts_first(const json& processor, const std::string& bos) {
  if (!processor.is_object()) return false;
  for (const json& member : processor.value("processors", json::array())) {
    if (puts_first(member, bos)) return true;
  }
  const json parts = processor.value("single", json::array());
  return !parts.empty() && parts.front().contains("SpecialToken") &&
         parts.front()["SpecialToken"].value("id", "") == bos;
}

/// The first of config.json's ids under `key`.
std::optional<int64_t> configured_id(const json& config, const std::string& key) {
  const auto found = config.find(key);
  if (found == config.end()) return std::nullopt;
  const json& id = found->is_array() && !found->empty() ? found->front() : *found;
  return id.is_number_integer() ? std::optional(id.get<int64_t>()) : std::nullopt;
}

/// What the tokenizer's settings call the token, else what the model's do.
std::optional<int64_t> special_id(const Checkpoint& text, const TokenTable& tokens,
                                  const std::string& name) {
  const auto found = text.tokenizer_config().find(name);
  if (found != text.tokenizer_config().end() && found->is_string()) {
    const auto id = tokens.find(found->get<std::string>());
    if (id) return id;
  }
  return configured_id(text.config(), name + "_id");
}

void check_byte_level(const json& tokenizer, const std::string& origin) {
  const json& model = tokenizer.at("model");
  const std::string type = model.value("type", "");
  NIBBLE_CHECK(type == "BPE" && !model.value("byte_fallback", false), origin, ": a ", type,
               " tokenizer cannot be stored as GGUF (a byte-level BPE can)");
}

std::vector<GgufEntry> make_metadata(const Checkpoint& text, const json& tokenizer,
                                     int64_t vocab_size) {
  const std::string origin = text.path().string() + ": tokenizer";
  check_byte_level(tokenizer, origin);
  const GgufPreTokenizer* pre = match_gguf_pre_tokenizer(tokenizer);
  NIBBLE_CHECK(pre != nullptr, origin,
               ": its pre-tokenizer, normalizer and ignore_merges together have no name in GGUF (",
               supported_gguf_pre_tokenizers(), " have); another one would give other token ids");
  const TokenTable tokens(tokenizer, vocab_size, origin);
  std::vector<GgufEntry> entries;
  const auto add = [&](std::string_view key, GgufValue value) {
    entries.push_back({std::string(kKeys) + std::string(key), std::move(value)});
  };
  add("model", std::string("gpt2"));
  add("pre", std::string(pre->name));
  add("tokens", tokens.texts());
  add("token_type", tokens.types());
  add("merges", merges_of(tokenizer));
  constexpr std::pair<const char*, const char*> kSpecialTokens[] = {
      {"bos_token", "bos_token_id"},
      {"eos_token", "eos_token_id"},
      {"unk_token", "unknown_token_id"},
      {"pad_token", "padding_token_id"},
  };
  for (const auto& [name, key] : kSpecialTokens) {
    const std::optional<int64_t> id = special_id(text, tokens, name);
    if (id && *id >= 0 && *id < vocab_size) add(key, static_cast<uint32_t>(*id));
  }
  const std::optional<int64_t> bos = special_id(text, tokens, "bos_token");
  add("add_bos_token", bos && *bos >= 0 && *bos < vocab_size &&
                           puts_first(tokenizer.value("post_processor", json(nullptr)),
                                      tokens.texts()[static_cast<size_t>(*bos)]));
  if (const auto chat_template = text.chat_template()) {
    entries.push_back({"tokenizer.chat_template", *chat_template});
  }
  return entries;
}

}  // namespace

std::vector<GgufEntry> gguf_tokenizer_metadata(const Checkpoint& text, int64_t vocab_size) {
  const std::string origin = text.path().string() + ": tokenizer";
  const json tokenizer = parse_json(text.tokenizer_json(), origin);
  try {
    return make_metadata(text, tokenizer, vocab_size);
  } catch (const json::exception& error) {
    fail(origin, " is not what a tokenizer.json holds: ", error.what());
  }
}

}  // namespace nibble::io
