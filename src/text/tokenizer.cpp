#include <nibble/core/error.h>
#include <nibble/core/parallel.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/text/tokenizer.h>

#include <nlohmann/json.hpp>

#include <limits>

#include "added_tokens.h"
#include "bpe.h"
#include "decoder.h"
#include "normalizer.h"
#include "post_processor.h"
#include "pre_tokenizer.h"

namespace nibble::text {
namespace {

/// The component `key` as `read` makes it, or an empty one when it is absent or null.
template <class Read>
auto read_optional(const JsonNode& root, std::string_view key, Read read) {
  const auto node = root.find(key);
  return node ? read(*node) : decltype(read(*node))();
}

}  // namespace

class Tokenizer::Impl {
 public:
  explicit Impl(const JsonNode& root)
      : model_(root.at("model")),
        normalizer_(read_optional(root, "normalizer",
                                  [](const JsonNode& node) { return read_normalizer(node); })),
        pre_tokenizer_(read_optional(
            root, "pre_tokenizer", [](const JsonNode& node) { return read_pre_tokenizer(node); })),
        post_processor_(read_optional(root, "post_processor",
                                      [](const JsonNode& node) { return PostProcessor(node); })),
        decoder_(read_optional(root, "decoder",
                               [](const JsonNode& node) { return read_decoder(node); })),
        added_(root.find("added_tokens").value_or(kNoTokens), model_, normalizer_) {}

  Encoding encode(std::string_view text, bool add_special_tokens) const {
    Encoding encoding;
    for_each_token(text, [&](const Token& token) {
      ByteSpan span = token.source.origin(token.begin, token.end);
      if (post_processor_.trims()) {
        span = post_processor_.trimmed(span, text, text_of(token), encoding.ids.empty());
      }
      encoding.ids.push_back(token.id);
      encoding.spans.push_back(span);
    });
    return post_processor_.fill_template(std::move(encoding), add_special_tokens);
  }

  std::vector<int64_t> encode_ids(std::string_view text, bool add_special_tokens) const {
    Encoding encoding;
    for_each_token(text, [&](const Token& token) { encoding.ids.push_back(token.id); });
    return post_processor_.fill_template(std::move(encoding), add_special_tokens).ids;
  }

  std::string decode(std::span<const int64_t> ids, bool skip_special_tokens) const {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const int64_t id : ids) {
      const std::string* token = decoded_form(id);
      if (token != nullptr && !(skip_special_tokens && added_.is_special(*token))) {
        tokens.push_back(*token);
      }
    }
    if (decoder_) {
      decoder_(tokens);
    }
    std::string text;
    for (size_t i = 0; i < tokens.size(); ++i) {
      text += i == 0 || decoder_ ? "" : " ";
      text += tokens[i];
    }
    return text;
  }

  std::optional<int64_t> token_to_id(std::string_view token) const {
    const auto id = added_.id_of(token);
    return id ? id : model_.token_to_id(token);
  }

  std::optional<std::string> id_to_token(int64_t id) const {
    if (!fits(id)) {
      return std::nullopt;
    }
    if (const AddedToken* token = added_.token(static_cast<uint32_t>(id))) {
      return token->content;
    }
    const std::string* token = model_.id_to_token(static_cast<uint32_t>(id));
    return token == nullptr ? std::nullopt : std::optional(*token);
  }

  int64_t vocab_size() const {
    return static_cast<int64_t>(model_.vocab_size() + added_.beyond_model());
  }

 private:
  /// A token found in a text: it covers source.text()[begin, end).
  struct Token {
    uint32_t id;
    const AlignedText& source;
    size_t begin;
    size_t end;
    bool is_added;
  };

  std::string_view text_of(const Token& token) const {
    return token.is_added ? token.source.text().substr(token.begin, token.end - token.begin)
                          : std::string_view(*model_.id_to_token(token.id));
  }

  static bool fits(int64_t id) { return id >= 0 && id <= std::numeric_limits<uint32_t>::max(); }

  const std::string* decoded_form(int64_t id) const {
    if (!fits(id)) {
      return nullptr;
    }
    const std::string* added = added_.decoded_form(static_cast<uint32_t>(id));
    return added != nullptr ? added : model_.id_to_token(static_cast<uint32_t>(id));
  }

  /// Calls `emit(Token)` for the tokens in order.
  template <class Emit>
  void for_each_token(std::string_view text, Emit emit) const {
    const WordCachePool::Lease cache = model_.take_cache();
    const AlignedText input(text);
    for (const AddedTokenPart& part : added_.find_raw(input.text())) {
      if (part.id) {
        emit(Token{*part.id, input, part.range.begin, part.range.end, true});
        continue;
      }
      AlignedText normalized = input.slice(part.range.begin, part.range.end);
      if (normalizer_) {
        normalizer_(normalized);
      }
      for (const AddedTokenPart& inner : added_.find_normalized(normalized.text())) {
        if (inner.id) {
          emit(Token{*inner.id, normalized, inner.range.begin, inner.range.end, true});
        } else {
          tokenize(normalized.slice(inner.range.begin, inner.range.end), *cache, emit);
        }
      }
    }
  }

  template <class Emit>
  void tokenize(AlignedText text, WordCache& cache, Emit emit) const {
    Pieces pieces;
    pieces.ranges = {{0, text.text().size()}};
    pieces.text = std::move(text);
    if (pre_tokenizer_) {
      pre_tokenizer_(pieces);
    }
    if (!model_.takes_bytes()) {
      spell_bytes(pieces);
    }
    std::vector<BpeToken> tokens;
    for (size_t i = 0; i < pieces.ranges.size(); ++i) {
      tokens.clear();
      if (pieces.stands_for_bytes) {
        model_.tokenize_bytes(pieces[i], cache, tokens);
      } else {
        model_.tokenize(pieces[i], cache, tokens);
      }
      const size_t offset = pieces.ranges[i].begin;
      for (const BpeToken& token : tokens) {
        emit(Token{token.id, pieces.text, offset + token.begin, offset + token.end, false});
      }
    }
  }

  inline static const nlohmann::json kEmptyList = nlohmann::json::array();
  inline static const JsonNode kNoTokens{kEmptyList, "added_tokens"};

  Bpe model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  PostProcessor post_processor_;
  Decoder decoder_;
  AddedTokens added_;
};

Tokenizer Tokenizer::from_json(std::string_view json, std::string_view origin) {
  const nlohmann::json document = io::parse_json(json, origin);
  const JsonNode root(document, std::string(origin));
  if (const auto version = root.find("version"); version && version->string() != "1.0") {
    version->fail("unknown version \"", version->string(), "\"; known is \"1.0\"");
  }
  return Tokenizer(std::make_shared<const Impl>(root));
}

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  return from_json(io::read_text_file(path), path.string());
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return impl_->encode(text, add_special_tokens);
}

std::vector<int64_t> Tokenizer::encode_ids(std::string_view text, bool add_special_tokens) const {
  return impl_->encode_ids(text, add_special_tokens);
}

std::vector<Encoding> Tokenizer::encode_batch(std::span<const std::string> texts,
                                              bool add_special_tokens, int threads) const {
  std::vector<Encoding> encodings(texts.size());
  parallel_for(texts.size(), threads, [&](size_t i) {
    try {
      encodings[i] = encode(texts[i], add_special_tokens);
    } catch (const Error& error) {
      fail("text ", i, ": ", error.what());
    }
  });
  return encodings;
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special_tokens) const {
  return impl_->decode(ids, skip_special_tokens);
}

std::optional<int64_t> Tokenizer::token_to_id(std::string_view token) const {
  return impl_->token_to_id(token);
}

std::optional<std::string> Tokenizer::id_to_token(int64_t id) const {
  return impl_->id_to_token(id);
}

int64_t Tokenizer::vocab_size() const { return impl_->vocab_size(); }

}  // namespace nibble::text
