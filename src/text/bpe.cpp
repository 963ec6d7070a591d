#include "bpe.h"

#include <algorithm>

#include "byte_level.h"
#include "utf8.h"

namespace nibble::text {
namespace {

std::string string_or_empty(const JsonNode& node, std::string_view key) {
  const auto member = node.find(key);
  return member ? member->string() : "";
}

/// What SentencePiece writes for a space.
constexpr std::string_view kMark = "\xE2\x96\x81";

/// The end of the word at the begin of `text`: marks, then no marks.
size_t end_of_word(std::string_view text) {
  size_t end = 0;
  while (text.substr(end).starts_with(kMark)) {
    end += kMark.size();
  }
  return std::min(text.find(kMark, end), text.size());
}

std::vector<BpeSymbol> whole_word(uint32_t id, std::string_view word) {
  return {{id, 0, static_cast<uint32_t>(word.size())}};
}

}  // namespace

Bpe::Bpe(const JsonNode& node) {
  const std::string type = node.find("type") ? node.type() : "BPE";
  if (type != "BPE") {
    node.fail("the model \"", type, "\" is not supported; supported is BPE");
  }
  if (const auto dropout = node.find("dropout"); dropout && dropout->value() != 0) {
    dropout->fail("random dropout is not supported; set it to null");
  }
  prefix_ = string_or_empty(node, "continuing_subword_prefix");
  suffix_ = string_or_empty(node, "end_of_word_suffix");
  fuses_unknown_ = node.boolean_or("fuse_unk", false);
  byte_fallback_ = node.boolean_or("byte_fallback", false);
  ignores_merges_ = node.boolean_or("ignore_merges", false);
  read_vocabulary(node.at("vocab"));
  read_merges(node.at("merges"));
  read_byte_tokens();
  if (const auto unknown = node.find("unk_token")) {
    unknown_ = token_to_id(unknown->string());
    if (!unknown_) {
      unknown->fail("\"", unknown->string(), "\" is not in the vocabulary");
    }
  }
  choose_shortcuts();
}

void Bpe::read_vocabulary(const JsonNode& node) {
  if (!node.value().is_object()) {
    node.fail("expected an object of tokens and ids, got ", node.value().type_name());
  }
  ids_.reserve(node.value().size());
  tokens_.reserve(node.value().size());
  for (const auto& [token, id] : node.value().items()) {
    const uint32_t number = JsonNode(id, node.path() + "." + token).uint32();
    const auto entry = ids_.emplace(token, number).first;
    const auto [other, is_new] = tokens_.emplace(number, &entry->first);
    if (!is_new) {
      node.fail("the id ", number, " stands for \"", *other->second, "\" and \"", token, "\"");
    }
  }
}

void Bpe::read_merges(const JsonNode& node) {
  const nlohmann::json& list = node.value();
  if (!list.is_array()) {
    node.fail("expected an array, got ", list.type_name());
  }
  merges_ = MergeTable(list.size());
  for (const nlohmann::json& merge : list) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      add_merge(node, merge[0].get_ref<const std::string&>(),
                merge[1].get_ref<const std::string&>());
      continue;
    }
    const std::string_view text =
        merge.is_string() ? merge.get_ref<const std::string&>() : std::string_view();
    const size_t space = text.find(' ');
    if (text.starts_with("#version")) {
      continue;
    }
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      node.fail("merge ", merge_count_, " is ", merge.dump(),
                "; expected \"a b\" or [\"a\", \"b\"]");
    }
    add_merge(node, text.substr(0, space), text.substr(space + 1));
  }
}

void Bpe::add_merge(const JsonNode& node, std::string_view left, std::string_view right) {
  const auto id_of = [&](std::string_view token) {
    const auto id = token_to_id(token);
    if (!id) {
      node.fail("merge ", merge_count_, " (\"", left, "\", \"", right, "\") needs the token \"",
                token, "\", which is not in the vocabulary");
    }
    return *id;
  };
  const uint32_t left_id = id_of(left);
  const uint32_t right_id = id_of(right);
  if (left.empty() || right.size() <= prefix_.size()) {
    node.fail("merge ", merge_count_, " (\"", left, "\", \"", right, "\") has an empty part");
  }
  const uint32_t merged = id_of(std::string(left) + std::string(right.substr(prefix_.size())));
  merges_.insert(left_id, right_id, {merge_count_++, merged});
  merges_before_marks_ |= right.starts_with(kMark) && !left.ends_with(kMark);
}

void Bpe::read_byte_tokens() {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] =
        token_to_id(std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 0xF] + ">");
    byte_alphabet_[byte] = token_to_id(byte_to_character(static_cast<unsigned char>(byte)));
  }
}

void Bpe::choose_shortcuts() {
  const auto are_complete = [](const auto& ids) {
    return std::all_of(ids.begin(), ids.end(), [](const auto& id) { return id.has_value(); });
  };
  const bool has_affixes = !prefix_.empty() || !suffix_.empty();
  // A character of the alphabet that is unknown and yet leaves a token is two bytes, not one.
  const bool drops_unknown = !byte_fallback_ && !unknown_;
  takes_bytes_ = !has_affixes && (are_complete(byte_alphabet_) || drops_unknown);
  // A mark that is unknown could be one token with an unknown character before it, and marks with
  // nothing but dropped characters between them are neighbours.
  const bool drops_nothing = unknown_ || (byte_fallback_ && are_complete(byte_tokens_));
  cuts_at_marks_ = !has_affixes && !ignores_merges_ && !merges_before_marks_ && drops_nothing &&
                   token_to_id(kMark).has_value();
}

std::optional<uint32_t> Bpe::token_to_id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

const std::string* Bpe::id_to_token(uint32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : found->second;
}

void Bpe::tokenize(std::string_view piece, WordCache& cache, std::vector<BpeToken>& tokens) const {
  for (size_t begin = 0; begin < piece.size();) {
    const std::string_view rest = piece.substr(begin);
    const std::string_view word = rest.substr(0, cuts_at_marks_ ? end_of_word(rest) : rest.size());
    tokenize_word(word, static_cast<uint32_t>(begin), cache, tokens);
    begin += word.size();
  }
}

void Bpe::tokenize_word(std::string_view word, uint32_t offset, WordCache& cache,
                        std::vector<BpeToken>& tokens) const {
  const size_t count = tokens.size();
  if (!cache.find(word, tokens)) {
    const auto whole = ignores_merges_ ? token_to_id(word) : std::nullopt;
    finish_word(word, whole ? whole_word(*whole, word) : symbols_of(word), cache, tokens);
  }
  for (size_t i = count; i < tokens.size(); ++i) {
    tokens[i].begin += offset;
    tokens[i].end += offset;
  }
}

void Bpe::tokenize_bytes(std::string_view piece, WordCache& cache,
                         std::vector<BpeToken>& tokens) const {
  if (cache.find(piece, tokens)) {
    return;
  }
  if (const auto whole = ignores_merges_ ? token_to_id(in_byte_alphabet(piece)) : std::nullopt) {
    finish_word(piece, whole_word(*whole, piece), cache, tokens);
    return;
  }
  std::vector<BpeSymbol> symbols;
  symbols.reserve(piece.size());
  for (uint32_t i = 0; i < piece.size(); ++i) {
    if (const auto id = byte_alphabet_[static_cast<unsigned char>(piece[i])]) {
      symbols.push_back({*id, i, i + 1});
    }
  }
  finish_word(piece, std::move(symbols), cache, tokens);
}

void Bpe::finish_word(std::string_view word, std::vector<BpeSymbol> symbols, WordCache& cache,
                      std::vector<BpeToken>& tokens) const {
  merge_symbols(symbols, merges_);
  const size_t count = tokens.size();
  for (const BpeSymbol& symbol : symbols) {
    if (!symbol.is_merged_away()) {
      tokens.push_back({symbol.id, symbol.begin, symbol.end});
    }
  }
  cache.insert(word, std::span(tokens).subspan(count));
}

std::vector<BpeSymbol> Bpe::symbols_of(std::string_view piece) const {
  std::vector<BpeSymbol> symbols;
  symbols.reserve(piece.size());
  std::optional<BpeSymbol> unknown;  // put after byte tokens that follow it, as the reference does
  const auto flush = [&] {
    if (unknown) {
      symbols.push_back(*unknown);
    }
    unknown.reset();
  };
  for (size_t pos = 0; pos < piece.size();) {
    const auto begin = static_cast<uint32_t>(pos);
    pos += char_length(piece[pos]);
    const auto end = static_cast<uint32_t>(pos);
    const std::string character = with_affixes(piece, begin, end);
    if (const auto id = token_to_id(character)) {
      flush();
      symbols.push_back({*id, begin, end});
    } else if (byte_fallback_ && append_bytes(character, begin, end, symbols)) {
      continue;
    } else if (unknown_ && unknown && fuses_unknown_) {
      unknown->end = end;
    } else if (unknown_) {
      flush();
      unknown = {*unknown_, begin, end};
    }
  }
  flush();
  return symbols;
}

std::string Bpe::with_affixes(std::string_view piece, size_t begin, size_t end) const {
  std::string character = begin == 0 ? "" : prefix_;
  character += piece.substr(begin, end - begin);
  return end == piece.size() ? character + suffix_ : character;
}

bool Bpe::append_bytes(std::string_view character, uint32_t begin, uint32_t end,
                       std::vector<BpeSymbol>& symbols) const {
  const auto token_of = [&](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
  if (!std::all_of(character.begin(), character.end(),
                   [&](char byte) { return token_of(byte).has_value(); })) {
    return false;
  }
  for (const char byte : character) {
    symbols.push_back({*token_of(byte), begin, begin + 1});
    begin = std::min(begin + 1, end - 1);  // affixes have no bytes of their own in the piece
  }
  return true;
}

}  // namespace nibble::text
