#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace nibble::io {

/// What a value of tokenizer.ggml.pre stands for: how text is cut before BPE.
struct GgufPreTokenizer {
  std::string_view name;
  nlohmann::json (*pre_tokenizer)();  ///< as in tokenizer.json
  bool normalizes_to_nfc;
  bool ignores_merges;  ///< a word that is itself a token is not built up from its parts
  bool adds_bos;        ///< unless the file says otherwise
};

/// nullptr where the name is not supported.
const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name);
/// The one that cuts text as the tokenizer.json `tokenizer` does; nullptr where there is none.
const GgufPreTokenizer* match_gguf_pre_tokenizer(const nlohmann::json& tokenizer);
/// "smollm, gpt-2, ...".
std::string supported_gguf_pre_tokenizers();

}  // namespace nibble::io
