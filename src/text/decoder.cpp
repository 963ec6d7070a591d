#include "decoder.h"

#include <algorithm>

#include "byte_level.h"
#include "pattern.h"
#include "utf8.h"

namespace nibble::text {
namespace {

constexpr int kMaxDepth = 32;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t pos = text.find(from); pos != std::string::npos;
       pos = text.find(from, pos + to.size())) {
    text.replace(pos, from.size(), to);
  }
}

std::string joined(const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) {
    text += token;
  }
  return text;
}

void decode_byte_level(std::vector<std::string>& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) {
    append_bytes_of_token(bytes, token);
  }
  tokens = {replace_ill_formed(bytes)};
}

/// The byte that a token such as "<0x0A>" stands for.
std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') {
    return std::nullopt;
  }
  unsigned value = 0;
  for (const char digit : token.substr(3, 2)) {
    const size_t number =
        std::string_view("0123456789abcdef")
            .find(digit >= 'A' && digit <= 'F' ? static_cast<char>(digit | 0x20) : digit);
    if (number == std::string_view::npos) {
      return std::nullopt;
    }
    value = value * 16 + static_cast<unsigned>(number);
  }
  return static_cast<char>(value);
}

/// Runs of byte tokens become their text, or one U+FFFD a byte where they are not UTF-8.
void decode_byte_fallback(std::vector<std::string>& tokens) {
  std::vector<std::string> result;
  std::string bytes;
  const auto flush = [&] {
    if (is_well_formed(bytes)) {
      result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), std::string(kReplacementCharacter));
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_of_token(token)) {
      bytes += *byte;
      continue;
    }
    if (!bytes.empty()) {
      flush();
    }
    result.push_back(std::move(token));
  }
  if (!bytes.empty()) {
    flush();
  }
  tokens = std::move(result);
}

Decoder read_sequence(const JsonNode& node, int depth) {
  std::vector<Decoder> steps;
  for (const JsonNode& step : node.at("decoders").elements()) {
    steps.push_back(read_decoder(step, depth + 1));
  }
  return [steps = std::move(steps)](std::vector<std::string>& tokens) {
    for (const Decoder& step : steps) {
      step(tokens);
    }
  };
}

Decoder read_replace(const JsonNode& node) {
  return [pattern = read_pattern(node.at("pattern")),
          content = node.at("content").string()](std::vector<std::string>& tokens) {
    for (std::string& token : tokens) {
      std::string replaced;
      size_t kept = 0;
      for (const auto& [begin, end] : pattern(token)) {
        replaced.append(token, kept, begin - kept).append(content);
        kept = end;
      }
      token = replaced.append(token, kept);
    }
  };
}

Decoder read_strip(const JsonNode& node) {
  return [content = node.at("content").string(), start = node.at("start").uint32(),
          stop = node.at("stop").uint32()](std::vector<std::string>& tokens) {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (uint32_t i = 0; i < start && !content.empty() && rest.starts_with(content); ++i) {
        rest.remove_prefix(content.size());
      }
      for (uint32_t i = 0; i < stop && !content.empty() && rest.ends_with(content); ++i) {
        rest.remove_suffix(content.size());
      }
      token = std::string(rest);
    }
  };
}

Decoder read_metaspace(const JsonNode& node) {
  const auto scheme = node.find("prepend_scheme");
  const bool drops_first =
      node.boolean_or("add_prefix_space", true) && (!scheme || scheme->string() != "never");
  return [mark = node.at("replacement").string(), drops_first](std::vector<std::string>& tokens) {
    for (size_t i = 0; i < tokens.size() && !mark.empty(); ++i) {
      replace_all(tokens[i], mark, i == 0 && drops_first ? "" : " ");
    }
  };
}

Decoder read_bpe_decoder(const JsonNode& node) {
  return [suffix = node.at("suffix").string()](std::vector<std::string>& tokens) {
    for (size_t i = 0; i < tokens.size() && !suffix.empty(); ++i) {
      replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
    }
  };
}

}  // namespace

Decoder read_decoder(const JsonNode& node, int depth) {
  if (depth > kMaxDepth) {
    node.fail("decoders are nested more than ", kMaxDepth, " deep");
  }
  const std::string type = node.type();
  if (type == "Sequence") {
    return read_sequence(node, depth);
  }
  if (type == "ByteLevel") {
    return decode_byte_level;
  }
  if (type == "ByteFallback") {
    return decode_byte_fallback;
  }
  if (type == "Fuse") {
    return [](std::vector<std::string>& tokens) { tokens = {joined(tokens)}; };
  }
  if (type == "Replace") {
    return read_replace(node);
  }
  if (type == "Strip") {
    return read_strip(node);
  }
  if (type == "Metaspace") {
    return read_metaspace(node);
  }
  if (type == "BPEDecoder") {
    return read_bpe_decoder(node);
  }
  node.fail("the decoder \"", type,
            "\" is not supported; supported are Sequence, ByteLevel, ByteFallback, Fuse, Replace, "
            "Strip, Metaspace, BPEDecoder");
}

}  // namespace nibble::text
