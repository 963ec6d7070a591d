#include "post_processor.h"

#include <algorithm>

#include "byte_level.h"
#include "code_points.h"
#include "utf8.h"

namespace nibble::text {
namespace {

constexpr int kMaxDepth = 32;

struct Margin {
  size_t characters = 0;
  size_t bytes = 0;  // of the input
};

/// White space before the first other character of `token`, and behind the last.
std::pair<Margin, Margin> margins(std::string_view token) {
  Margin leading;
  Margin run;
  bool is_leading = true;
  for (size_t pos = 0; pos < token.size();) {
    const size_t begin = pos;
    const bool is_space = token.substr(pos).starts_with(byte_to_character(' '));
    const char32_t code = next_code_point(token, pos);
    if (is_space || is_white_space(code)) {
      run.characters += 1;
      run.bytes += is_space ? 1 : pos - begin;
      continue;
    }
    leading = is_leading ? run : leading;
    is_leading = false;
    run = {};
  }
  return {is_leading ? run : leading, run};
}

}  // namespace

void PostProcessor::read(const JsonNode& node, int depth) {
  if (depth > kMaxDepth) {
    node.fail("post-processors are nested more than ", kMaxDepth, " deep");
  }
  const std::string type = node.type();
  if (type == "Sequence") {
    for (const JsonNode& step : node.at("processors").elements()) {
      read(step, depth + 1);
    }
  } else if (type == "ByteLevel") {
    if (node.at("trim_offsets").boolean()) {
      trimmings_.push_back({node.at("add_prefix_space").boolean()});
    }
  } else if (type == "TemplateProcessing") {
    read_template(node);
  } else {
    node.fail("the post-processor \"", type,
              "\" is not supported; supported are Sequence, ByteLevel, TemplateProcessing");
  }
}

void PostProcessor::read_template(const JsonNode& node) {
  if (!template_.empty()) {
    node.fail("a second TemplateProcessing is not supported");
  }
  const JsonNode special_tokens = node.at("special_tokens");
  for (const JsonNode& part : node.at("single").elements()) {
    if (const auto sequence = part.find("Sequence")) {
      if (const std::string id = sequence->at("id").string(); id != "A") {
        sequence->fail("a single text has the sequence \"A\", not \"", id, "\"");
      }
      template_.push_back({.is_text = true, .ids = {}});
      continue;
    }
    TemplatePart tokens;
    const std::string name = part.at("SpecialToken").at("id").string();
    for (const JsonNode& id : special_tokens.at(name).at("ids").elements()) {
      tokens.ids.push_back(id.uint32());
    }
    template_.push_back(std::move(tokens));
  }
  if (template_.empty()) {
    node.fail("the template \"single\" is empty");
  }
}

ByteSpan PostProcessor::trimmed(ByteSpan span, std::string_view token, bool is_first) const {
  for (const Trimming& trimming : trimmings_) {
    const auto [leading, trailing] = margins(token);
    const bool is_prefix =
        (is_first || span.begin == 0) && trimming.keeps_prefix_space && leading.characters == 1;
    if (!is_prefix) {
      span.begin = std::min(span.begin + leading.bytes, span.end);
    }
    if (span.end >= trailing.bytes) {
      span.end = std::max(span.end - trailing.bytes, span.begin);
    }
  }
  return span;
}

Encoding PostProcessor::add_special_tokens(Encoding encoding) const {
  if (template_.empty()) {
    return encoding;
  }
  Encoding result;
  for (const TemplatePart& part : template_) {
    if (part.is_text) {
      result.ids.insert(result.ids.end(), encoding.ids.begin(), encoding.ids.end());
      result.spans.insert(result.spans.end(), encoding.spans.begin(), encoding.spans.end());
    } else {
      result.ids.insert(result.ids.end(), part.ids.begin(), part.ids.end());
      result.spans.insert(result.spans.end(), part.ids.size(), ByteSpan{});
    }
  }
  return result;
}

}  // namespace nibble::text
