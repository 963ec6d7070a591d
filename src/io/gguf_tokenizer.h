#pragma once

#include <nibble/io/gguf.h>

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace nibble::io {

/// The tokenizer.json that a GGUF file's byte-level BPE vocabulary was made from. Control tokens
/// become special added tokens, user-defined ones plain added tokens. Throws Error naming the
/// metadata key that is missing, malformed or not supported.
std::string gguf_tokenizer_json(const GgufFile& file);

/// The tokenizer_config.json for it: special tokens by name, chat template.
nlohmann::json gguf_tokenizer_config(const GgufFile& file);

/// A token id of the metadata ("bos_token_id", ...); nothing where the file names none.
std::optional<int64_t> gguf_token_id(const GgufFile& file, const std::string& name);

}  // namespace nibble::io
