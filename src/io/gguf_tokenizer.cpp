#include "gguf_tokenizer.h"

#include <nibble/core/error.h>
#include <nibble/io/json.h>

#include "gguf_metadata.h"
#include "gguf_pre_tokenizers.h"
#include "gguf_token_types.h"

namespace nibble::io {
namespace {

using nlohmann::json;

constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kTokenTypes[] = "tokenizer.ggml.token_type";
constexpr char kMerges[] = "tokenizer.ggml.merges";

json byte_level_decoder() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", true},
          {"trim_offsets", true},
          {"use_regex", true}};
}

const GgufPreTokenizer& pre_tokenizer_of(const GgufMetadata& metadata) {
  const std::string key = "tokenizer.ggml.pre";
  const std::string name = metadata.string(key);
  const GgufPreTokenizer* found = find_gguf_pre_tokenizer(name);
  NIBBLE_CHECK(found != nullptr, metadata.where(key), ": \"", name, "\" is not supported (",
               supported_gguf_pre_tokenizers(), " are)");
  return *found;
}

const std::string& token_at(const GgufMetadata& metadata, int64_t id) {
  const json& token = metadata.array(kTokens).at(static_cast<size_t>(id));
  NIBBLE_CHECK(token.is_string(), metadata.where(kTokens), " holds something that is not a string");
  return token.get_ref<const std::string&>();
}

json vocabulary(const GgufMetadata& metadata) {
  const auto count = static_cast<int64_t>(metadata.array(kTokens).size());
  json vocab = json::object();
  for (int64_t id = 0; id < count; ++id) {
    const bool is_first = vocab.emplace(token_at(metadata, id), id).second;
    NIBBLE_CHECK(is_first, metadata.where(kTokens), ": token ", id,
                 " has the text of an earlier one");
  }
  return vocab;
}

json merges(const GgufMetadata& metadata) {
  json pairs = json::array();
  for (const json& merge : metadata.array(kMerges)) {
    NIBBLE_CHECK(merge.is_string(), metadata.where(kMerges),
                 " holds something that is not a string");
    const std::string& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    const bool is_pair =
        space != std::string::npos && text.find(' ', space + 1) == std::string::npos;
    NIBBLE_CHECK(is_pair, metadata.where(kMerges), ": entry ", pairs.size(),
                 " is not two parts with one space between");
    pairs.push_back({text.substr(0, space), text.substr(space + 1)});
  }
  return pairs;
}

/// Calls visit(id, is_special) for each added token.
template <class Visit>
void for_each_added_token(const GgufMetadata& metadata, const Visit& visit) {
  if (metadata.find(kTokenTypes) == nullptr) return;
  const json& types = metadata.array(kTokenTypes);
  NIBBLE_CHECK(types.size() == metadata.array(kTokens).size(), metadata.where(kTokenTypes), " has ",
               types.size(), " entries for ", metadata.array(kTokens).size(), " tokens");
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] == kControlToken || types[id] == kUserDefinedToken) {
      visit(static_cast<int64_t>(id), types[id] == kControlToken);
    }
  }
}

json added_token(const std::string& content, bool is_special) {
  return {{"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false},    {"normalized", false},  {"special", is_special}};
}

json added_tokens(const GgufMetadata& metadata) {
  json tokens = json::array();
  for_each_added_token(metadata, [&](int64_t id, bool is_special) {
    tokens.push_back(added_token(token_at(metadata, id), is_special));
    tokens.back()["id"] = id;
  });
  return tokens;
}

/// Puts the beginning-of-sequence token before each text.
json bos_template(const std::string& bos, int64_t id) {
  const auto special = [&](int type_id) {
    return json{{"SpecialToken", {{"id", bos}, {"type_id", type_id}}}};
  };
  const auto text = [](const char* name, int type_id) {
    return json{{"Sequence", {{"id", name}, {"type_id", type_id}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", json::array({special(0), text("A", 0)})},
          {"pair", json::array({special(0), text("A", 0), special(1), text("B", 1)})},
          {"special_tokens", {{bos, {{"id", bos}, {"ids", {id}}, {"tokens", {bos}}}}}}};
}

json post_processor(const GgufFile& file, const GgufPreTokenizer& pre) {
  const GgufMetadata metadata(file);
  const std::string key = "tokenizer.ggml.add_bos_token";
  if (!metadata.boolean_or(key, pre.adds_bos)) return nullptr;
  const std::optional<int64_t> bos = gguf_token_id(file, "bos_token_id");
  NIBBLE_CHECK(bos, metadata.where(key), " asks for a token that bos_token_id does not name");
  return bos_template(token_at(metadata, *bos), *bos);
}

}  // namespace

std::string gguf_tokenizer_json(const GgufFile& file) {
  const GgufMetadata metadata(file);
  const std::string key = "tokenizer.ggml.model";
  const std::string model = metadata.string(key);
  NIBBLE_CHECK(model == "gpt2", metadata.where(key), ": \"", model,
               "\" is not supported (gpt2, the byte-level BPE, is)");
  const GgufPreTokenizer& pre = pre_tokenizer_of(metadata);
  const json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens(metadata)},
      {"normalizer", pre.normalizes_to_nfc ? json{{"type", "NFC"}} : json(nullptr)},
      {"pre_tokenizer", pre.pre_tokenizer()},
      {"post_processor", post_processor(file, pre)},
      {"decoder", byte_level_decoder()},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", pre.ignores_merges},
        {"vocab", vocabulary(metadata)},
        {"merges", merges(metadata)}}},
  };
  return dump_json(tokenizer, file.path().string() + ": the tokenizer");
}

json gguf_tokenizer_config(const GgufFile& file) {
  const GgufMetadata metadata(file);
  const auto name = [&](std::optional<int64_t> id) {
    return id ? json(token_at(metadata, *id)) : json(nullptr);
  };
  const std::optional<int64_t> bos = gguf_token_id(file, "bos_token_id");
  const std::optional<int64_t> eos = gguf_token_id(file, "eos_token_id");
  const std::optional<int64_t> pad = gguf_token_id(file, "padding_token_id");
  json added = json::object();
  for_each_added_token(metadata, [&](int64_t id, bool is_special) {
    added[std::to_string(id)] = added_token(token_at(metadata, id), is_special);
  });
  json additional = json::array();
  for (const std::optional<int64_t>& id : {bos, eos}) {
    if (id) additional.push_back(name(id));
  }
  const std::string template_key = "tokenizer.chat_template";
  const bool has_template = metadata.find(template_key) != nullptr;
  return {
      {"add_prefix_space", false},
      {"added_tokens_decoder", added},
      {"additional_special_tokens", additional},
      {"bos_token", name(bos)},
      {"eos_token", name(eos)},
      {"pad_token", name(pad ? pad : eos)},
      {"unk_token", name(gguf_token_id(file, "unknown_token_id"))},
      {"chat_template", has_template ? json(metadata.string(template_key)) : json(nullptr)},
      {"clean_up_tokenization_spaces", false},
      {"model_max_length",
       metadata.size(metadata.string("general.architecture") + ".context_length")},
      {"tokenizer_class", "PreTrainedTokenizerFast"},
      {"vocab_size", metadata.find(kTokens) == nullptr ? 0 : metadata.array(kTokens).size()},
  };
}

std::optional<int64_t> gguf_token_id(const GgufFile& file, const std::string& name) {
  const GgufMetadata metadata(file);
  const std::string key = "tokenizer.ggml." + name;
  if (metadata.find(key) == nullptr) return std::nullopt;
  const int64_t id = metadata.size(key);
  const size_t tokens = metadata.array(kTokens).size();
  NIBBLE_CHECK(static_cast<size_t>(id) < tokens, metadata.where(key), " is ", id,
               ", the vocabulary has ", tokens, " tokens");
  return id;
}

}  // namespace nibble::io
