#include "added_tokens.h"

#include <algorithm>

#include "code_points.h"
#include "utf8.h"

namespace nibble::text {
namespace {

char32_t first_character(std::string_view text) {
  size_t pos = 0;
  return next_code_point(text, pos);
}

size_t begin_of_last_character(std::string_view text) {
  size_t pos = text.size() - 1;
  while (is_continuation(text[pos])) {
    --pos;
  }
  return pos;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word(first_character(text.substr(begin_of_last_character(text))));
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word(first_character(text));
}

size_t begin_of_trailing_space(std::string_view text) {
  while (!text.empty()) {
    const size_t last = begin_of_last_character(text);
    if (!is_white_space(first_character(text.substr(last)))) {
      break;
    }
    text = text.substr(0, last);
  }
  return text.size();
}

size_t end_of_leading_space(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && is_white_space(first_character(text.substr(end)))) {
    end += char_length(text[end]);
  }
  return end;
}

AddedToken read_added_token(const JsonNode& node) {
  return {.content = node.at("content").string(),
          .single_word = node.at("single_word").boolean(),
          .lstrip = node.at("lstrip").boolean(),
          .rstrip = node.at("rstrip").boolean(),
          .normalized = node.at("normalized").boolean(),
          .special = node.at("special").boolean()};
}

}  // namespace

uint32_t StringMatcher::child_of(uint32_t node, char byte) const {
  uint32_t child = nodes_[node].first_child;
  while (child != 0 && nodes_[child].byte != byte) {
    child = nodes_[child].next_sibling;
  }
  return child;
}

void StringMatcher::add(std::string_view text, uint32_t id, const JsonNode& origin) {
  uint32_t node = 0;
  for (const char byte : text) {
    uint32_t child = child_of(node, byte);
    if (child == 0) {
      child = static_cast<uint32_t>(nodes_.size());
      nodes_.push_back({byte, std::nullopt, 0, nodes_[node].first_child});
      nodes_[node].first_child = child;
    }
    node = child;
  }
  if (node == 0 || nodes_[node].id) {
    origin.fail("an added token is empty, or equal to another, in its normalized form \"", text,
                "\"");
  }
  nodes_[node].id = id;
  first_[static_cast<unsigned char>(text[0])] = child_of(0, text[0]);
}

std::optional<StringMatcher::Match> StringMatcher::find(std::string_view text, size_t start) const {
  for (size_t begin = start; begin < text.size(); ++begin) {
    std::optional<Match> longest;
    uint32_t node = first_[static_cast<unsigned char>(text[begin])];
    for (size_t end = begin + 1; node != 0; ++end) {
      if (nodes_[node].id) {
        longest = {{begin, end}, *nodes_[node].id};
      }
      node = end < text.size() ? child_of(node, text[end]) : 0;
    }
    if (longest) {
      return longest;
    }
  }
  return std::nullopt;
}

AddedTokens::AddedTokens(const JsonNode& node, const Bpe& model, const Normalizer& normalizer) {
  uint32_t next_id = static_cast<uint32_t>(model.vocab_size());
  for (const JsonNode& element : node.elements()) {
    AddedToken token = read_added_token(element);
    if (token.content.empty()) {
      continue;
    }
    const auto known = id_of(token.content);
    const auto in_model = model.token_to_id(token.content);
    const uint32_t id = known ? *known : in_model ? *in_model : next_id++;
    const uint32_t stated = element.at("id").uint32();
    if (stated != id) {
      element.fail("the added token \"", token.content, "\" has the id ", stated,
                   ", but its place in the vocabulary gives it ", id);
    }
    beyond_model_ += !known && !in_model ? 1 : 0;
    AlignedText content(token.content);
    if (token.normalized && normalizer) {
      normalizer(content);
    }
    ids_[token.content] = id;
    if (token.special) {
      special_.insert(token.content);
    }
    entries_.insert_or_assign(id, Entry{std::move(token), std::string(content.text())});
  }
  for (const auto& [id, entry] : entries_) {
    (entry.token.normalized ? normalized_ : raw_).add(entry.normalized, id, node);
  }
}

std::vector<AddedTokenPart> AddedTokens::find(const StringMatcher& matcher,
                                              std::string_view text) const {
  std::vector<AddedTokenPart> parts;
  size_t covered = 0;
  size_t next = 0;
  while (const auto match = matcher.find(text, next)) {
    auto [begin, end] = match->range;
    next = end;
    const AddedToken& token = entries_.at(match->id).token;
    if (token.single_word &&
        (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) {
      begin = std::max(begin_of_trailing_space(text.substr(0, begin)), covered);
    }
    if (token.rstrip) {
      end += end_of_leading_space(text.substr(end));
    }
    if (end <= begin) {
      continue;  // white space that the token before has taken
    }
    if (covered < begin) {
      parts.push_back({{covered, begin}, std::nullopt});
    }
    parts.push_back({{begin, end}, match->id});
    covered = end;
  }
  if (covered < text.size()) {
    parts.push_back({{covered, text.size()}, std::nullopt});
  }
  return parts;
}

std::vector<AddedTokenPart> AddedTokens::find_raw(std::string_view text) const {
  return find(raw_, text);
}

std::vector<AddedTokenPart> AddedTokens::find_normalized(std::string_view text) const {
  return find(normalized_, text);
}

std::optional<uint32_t> AddedTokens::id_of(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

const AddedToken* AddedTokens::token(uint32_t id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : &found->second.token;
}

const std::string* AddedTokens::decoded_form(uint32_t id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : &found->second.normalized;
}

bool AddedTokens::is_special(std::string_view content) const {
  return special_.contains(std::string(content));
}

}  // namespace nibble::text
