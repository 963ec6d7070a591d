#include "gguf_tokenizer.h"

#include <nibble/core/error.h>
#include <nibble/io/json.h>

#include <array>

#include "gguf_metadata.h"

namespace nibble::io {
namespace {

using nlohmann::json;

constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kTokenTypes[] = "tokenizer.ggml.token_type";
constexpr char kMerges[] = "tokenizer.ggml.merges";

/// llama.cpp's enum llama_token_type; other types are plain vocabulary here.
constexpr int kControl = 3;
constexpr int kUserDefined = 4;

/// The regular expressions that split the text before BPE, from the models' own tokenizer.json.
constexpr char kLlama3Split[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2Split[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                               R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json byte_level(bool add_prefix_space, bool trim_offsets, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", trim_offsets},
          {"use_regex", use_regex}};
}

json sequence(const json& first, const json& second) {
  return {{"type", "Sequence"}, {"pretokenizers", json::array({first, second})}};
}

json gpt2_pre_tokenizer() { return byte_level(false, true, true); }

json smollm_pre_tokenizer() {
  return sequence({{"type", "Digits"}, {"individual_digits", true}}, gpt2_pre_tokenizer());
}

json split_pre_tokenizer(const char* regex) {
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", regex}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  return sequence(split, byte_level(false, true, false));
}

json llama3_pre_tokenizer() { return split_pre_tokenizer(kLlama3Split); }
json qwen2_pre_tokenizer() { return split_pre_tokenizer(kQwen2Split); }

/// What tokenizer.ggml.pre stands for. A further one is one row here.
struct PreTokenizer {
  std::string_view name;
  json (*pre_tokenizer)();
  bool normalizes_to_nfc;
  bool ignores_merges;  // a word that is itself a token is not built up from its parts
  bool adds_bos;        // unless the file says otherwise
};

constexpr std::array kPreTokenizers = {
    PreTokenizer{"smollm", smollm_pre_tokenizer, false, false, false},
    PreTokenizer{"gpt-2", gpt2_pre_tokenizer, false, false, false},
    PreTokenizer{"gpt2", gpt2_pre_tokenizer, false, false, false},
    PreTokenizer{"llama-bpe", llama3_pre_tokenizer, false, true, true},
    PreTokenizer{"llama3", llama3_pre_tokenizer, false, true, true},
    PreTokenizer{"llama-v3", llama3_pre_tokenizer, false, true, true},
    PreTokenizer{"qwen2", qwen2_pre_tokenizer, true, false, false},
};

const PreTokenizer& pre_tokenizer_of(const GgufMetadata& metadata) {
  const std::string key = "tokenizer.ggml.pre";
  const std::string name = metadata.string(key);
  std::string supported;
  for (const PreTokenizer& candidate : kPreTokenizers) {
    if (candidate.name == name) return candidate;
    supported += (supported.empty() ? "" : ", ") + std::string(candidate.name);
  }
  fail(metadata.where(key), ": \"", name, "\" is not supported (", supported, " are)");
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
    if (types[id] == kControl || types[id] == kUserDefined) {
      visit(static_cast<int64_t>(id), types[id] == kControl);
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

json post_processor(const GgufFile& file, const PreTokenizer& pre) {
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
  const PreTokenizer& pre = pre_tokenizer_of(metadata);
  const json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens(metadata)},
      {"normalizer", pre.normalizes_to_nfc ? json{{"type", "NFC"}} : json(nullptr)},
      {"pre_tokenizer", pre.pre_tokenizer()},
      {"post_processor", post_processor(file, pre)},
      {"decoder", byte_level(true, true, true)},
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
      {"model_max_length", metadata.size("llama.context_length")},
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
