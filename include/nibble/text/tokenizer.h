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
  /// For each id the bytes of the input it came from, whole characters: tokens that share a
  /// character share its bytes. Empty ranges for tokens that a post-processor added, and where it
  /// trims white space away. These are the reference's offsets, in bytes, but for two cases: what
  /// a normalizer composed or replaced has all the bytes it came from, not those of its first or
  /// last character, and a byte that the vocabulary lacks does not shift its neighbours.
  std::vector<ByteSpan> spans;
};

/// A tokenizer.json of Hugging Face `tokenizers`, encoded and decoded exactly as that library does.
/// Supported: BPE models (byte-level, or SentencePiece-style with byte fallback) with what they use
/// of the other components. "truncation" and "padding" are left to the caller.
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
  /// The encodings of `texts`, in their order, made by up to `threads` threads; 0: one a processor.
  /// Throws the Error of the first text that cannot be encoded, with its index in front.
  std::vector<Encoding> encode_batch(std::span<const std::string> texts, bool add_special_tokens,
                                     int threads = 0) const;
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
