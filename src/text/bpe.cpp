#include "bpe.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "utf8.h"

namespace nibble::text {
namespace {

constexpr uint32_t kNone = static_cast<uint32_t>(-1);

std::string string_or_empty(const JsonNode& node, std::string_view key) {
  const auto member = node.find(key);
  return member ? member->string() : "";
}

/// A merge that was possible when it was queued.
struct Candidate {
  Merge merge;
  uint32_t position;

  /// Reversed: the queue gives the greatest, we want the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return std::tie(merge.rank, position) > std::tie(other.merge.rank, other.position);
  }
};

}  // namespace

/// A token of the piece in a doubly linked list; merged-away ones have `end == begin`.
struct Bpe::Symbol {
  uint32_t id;
  uint32_t begin;
  uint32_t end;
  uint32_t previous = kNone;
  uint32_t next = kNone;
};

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
}

void Bpe::read_byte_tokens() {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] =
        token_to_id(std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 0xF] + ">");
  }
}

std::optional<uint32_t> Bpe::token_to_id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

const std::string* Bpe::id_to_token(uint32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : found->second;
}

void Bpe::tokenize(std::string_view piece, std::vector<BpeToken>& tokens) const {
  if (ignores_merges_) {
    if (const auto id = token_to_id(piece)) {
      tokens.push_back({*id, 0, static_cast<uint32_t>(piece.size())});
      return;
    }
  }
  if (cache_.find(piece, tokens)) {
    return;
  }
  std::vector<Symbol> symbols = symbols_of(piece);
  merge(symbols);
  const size_t count = tokens.size();
  for (const Symbol& symbol : symbols) {
    if (symbol.begin != symbol.end) {
      tokens.push_back({symbol.id, symbol.begin, symbol.end});
    }
  }
  cache_.insert(piece, std::span(tokens).subspan(count));
}

std::vector<Bpe::Symbol> Bpe::symbols_of(std::string_view piece) const {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  std::optional<Symbol> unknown;  // put after byte tokens that follow it, as the reference does
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
    if (const auto id = id_of_character(piece, begin, end)) {
      flush();
      symbols.push_back({*id, begin, end});
    } else if (byte_fallback_ && append_bytes(piece.substr(begin, end - begin), begin, symbols)) {
      continue;
    } else if (unknown_ && unknown && fuses_unknown_) {
      unknown->end = end;
    } else if (unknown_) {
      flush();
      unknown = {*unknown_, begin, end};
    }
  }
  flush();
  for (uint32_t i = 1; i < symbols.size(); ++i) {
    symbols[i].previous = i - 1;
    symbols[i - 1].next = i;
  }
  return symbols;
}

std::optional<uint32_t> Bpe::id_of_character(std::string_view piece, size_t begin,
                                             size_t end) const {
  const std::string_view character = piece.substr(begin, end - begin);
  if (prefix_.empty() && suffix_.empty()) {
    return token_to_id(character);
  }
  std::string token = begin == 0 ? "" : prefix_;
  token += character;
  return token_to_id(end == piece.size() ? token + suffix_ : token);
}

bool Bpe::append_bytes(std::string_view character, uint32_t begin,
                       std::vector<Symbol>& symbols) const {
  const auto token_of = [&](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
  if (!std::all_of(character.begin(), character.end(),
                   [&](char byte) { return token_of(byte).has_value(); })) {
    return false;
  }
  for (const char byte : character) {
    symbols.push_back({*token_of(byte), begin, begin + 1});
    ++begin;
  }
  return true;
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  std::priority_queue<Candidate> queue({}, std::move(storage));
  const auto propose = [&](uint32_t left) {
    const uint32_t right = left == kNone ? kNone : symbols[left].next;
    if (right == kNone) {
      return;
    }
    if (const Merge* found = merges_.find(symbols[left].id, symbols[right].id)) {
      queue.push({*found, left});
    }
  };
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    propose(i);
  }
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.begin == left.end || left.next == kNone) {
      continue;
    }
    Symbol& right = symbols[left.next];
    const Merge* const current = merges_.find(left.id, right.id);
    if (current == nullptr || current->id != best.merge.id) {
      continue;  // one of the two has been merged since
    }
    left.id = best.merge.id;
    left.end = right.end;
    left.next = right.next;
    right.end = right.begin;
    if (left.next != kNone) {
      symbols[left.next].previous = best.position;
    }
    propose(left.previous);
    propose(best.position);
  }
}

}  // namespace nibble::text
