#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

/// Half-open byte range of the input text.
struct ByteSpan {
  size_t begin = 0;
  size_t end = 0;
};

struct Encoding {
  std::vector<int64_t> ids;
  /// For each id the bytes of the input it came from; empty ranges for tokens that a
  /// post-processor added. A token may cover part of a character's bytes.
  std::vector<ByteSpan> spans;
};

/// A tokenizer.json of Hugging Face `tokenizers`, encoded and decoded exactly as that library does.
/// Thread-safe after construction; copies share the tables.
class Tokenizer {
 public:
  /// Throws Error naming the component (normalizer, pre_tokenizer, model, ...) that is malformed or
  /// not supported. `origin` names the source in messages.
  static Tokenizer from_json(std::string_view json, std::string_view origin = "tokenizer.json");
  static Tokenizer from_file(const std::filesystem::path& path);

  /// `text` is UTF-8; ill-formed bytes become U+FFFD, as in Python's `errors="replace"`.
  Encoding encode(std::string_view text, bool add_special_tokens) const;
  std::vector<int64_t> encode_ids(std::string_view text, bool add_special_tokens) const;
  /// Unknown ids are skipped, as the reference does.
  std::string decode(std::span<const int64_t> ids, bool skip_special_tokens) const;

  std::optional<int64_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(int64_t id) const;
  /// Number of ids, added tokens included.
  int64_t vocab_size() const;

 private:
  class Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace nibble::text
