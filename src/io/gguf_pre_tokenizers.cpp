#include "gguf_pre_tokenizers.h"

#include <array>

namespace nibble::io {
namespace {

using nlohmann::json;

/// The regular expressions that split the text before BPE, from the models' own tokenizer.json.
constexpr char kLlama3Split[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2Split[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                               R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

json sequence(const json& first, const json& second) {
  return {{"type", "Sequence"}, {"pretokenizers", json::array({first, second})}};
}

json gpt2_pre_tokenizer() { return byte_level(true); }

json smollm_pre_tokenizer() {
  return sequence({{"type", "Digits"}, {"individual_digits", true}}, gpt2_pre_tokenizer());
}

json split_pre_tokenizer(const char* regex) {
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", regex}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  return sequence(split, byte_level(false));
}

json llama3_pre_tokenizer() { return split_pre_tokenizer(kLlama3Split); }
json qwen2_pre_tokenizer() { return split_pre_tokenizer(kQwen2Split); }

/// A further one is one row here. Where several names mean the same, the first is written.
constexpr std::array kPreTokenizers = {
    GgufPreTokenizer{"smollm", smollm_pre_tokenizer, false, false, false},
    GgufPreTokenizer{"gpt-2", gpt2_pre_tokenizer, false, false, false},
    GgufPreTokenizer{"gpt2", gpt2_pre_tokenizer, false, false, false},
    GgufPreTokenizer{"llama-bpe", llama3_pre_tokenizer, false, true, true},
    GgufPreTokenizer{"llama3", llama3_pre_tokenizer, false, true, true},
    GgufPreTokenizer{"llama-v3", llama3_pre_tokenizer, false, true, true},
    GgufPreTokenizer{"qwen2", qwen2_pre_tokenizer, true, false, false},
};

/// `part` without what does not change the pieces: offsets, defaults, sequences of one.
json canonical(json part) {
  if (!part.is_object()) return part;
  const std::string type = part.value("type", "");
  if (type == "Sequence" && part.contains("pretokenizers")) {
    json& members = part["pretokenizers"];
    for (json& member : members) member = canonical(std::move(member));
    return members.size() == 1 ? json(members.front()) : part;
  }
  if (type == "ByteLevel") {
    return {{"type", type},
            {"add_prefix_space", part.value("add_prefix_space", true)},
            {"use_regex", part.value("use_regex", true)}};
  }
  if (type == "Split") part.emplace("invert", false);
  return part;
}

bool matches(const GgufPreTokenizer& candidate, const json& tokenizer) {
  const json normalizer = tokenizer.value("normalizer", json(nullptr));
  const json& model = tokenizer.at("model");
  const bool ignores_merges = model.contains("ignore_merges") && model["ignore_merges"] == true;
  return canonical(candidate.pre_tokenizer()) ==
             canonical(tokenizer.value("pre_tokenizer", json(nullptr))) &&
         normalizer == (candidate.normalizes_to_nfc ? json{{"type", "NFC"}} : json(nullptr)) &&
         ignores_merges == candidate.ignores_merges;
}

}  // namespace

const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name) {
  for (const GgufPreTokenizer& candidate : kPreTokenizers) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

const GgufPreTokenizer* match_gguf_pre_tokenizer(const json& tokenizer) {
  for (const GgufPreTokenizer& candidate : kPreTokenizers) {
    if (matches(candidate, tokenizer)) return &candidate;
  }
  return nullptr;
}

std::string supported_gguf_pre_tokenizers() {
  std::string names;
  for (const GgufPreTokenizer& candidate : kPreTokenizers) {
    names += (names.empty() ? "" : ", ") + std::string(candidate.name);
  }
  return names;
}

}  // namespace nibble::io
