#include "post_processor.h"

#include <algorithm>

#include "byte_level.h"
#include "code_points.h"
#include "utf8.h"

namespace nibble::text {
namespace {

constexpr int kMaxDepth = 32;

/// Characters of white space before the first other character of `token`, and behind the last.
std::pair<size_t, size_t> margins(std::string_view token) {
  size_t leading = 0;
  size_t run = 0;
  bool is_leading = true;
  for (size_t pos = 0; pos < token.size();) {
    const bool is_space = token.substr(pos).starts_with(byte_to_character(' '));
    const char32_t code = next_code_point(token, pos);
    if (is_space || is_white_space(code)) {
      ++run;
      continue;
    }
    leading = is_leading ? run : leading;
    is_leading = false;
    run = 0;
  }
  return {is_leading ? run : leading, run};
}

void drop_first_character(ByteSpan& span, std::string_view input) {
  do {
    ++span.begin;
  } while (span.begin < span.end && is_continuation(input[span.begin]));
}

void drop_last_character(ByteSpan& span, std::string_view input) {
  do {
    --span.end;
  } while (span.end > span.begin && is_continuation(input[span.end]));
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

ByteSpan PostProcessor::trimmed(ByteSpan span, std::string_view input, std::string_view token,
                                bool is_first) const {
  for (const Trimming& trimming : trimmings_) {
    auto [leading, trailing] = margins(token);
    const bool may_be_prefix = is_first || span.begin == 0;
    if (may_be_prefix && trimming.keeps_prefix_space && leading == 1) {
      leading = 0;
    }
    for (; leading > 0 && span.begin < span.end; --leading) {
      drop_first_character(span, input);
    }
    for (; trailing > 0 && span.begin < span.end; --trailing) {
      drop_last_character(span, input);
    }
  }
  return span;
}

Encoding PostProcessor::fill_template(Encoding encoding, bool add_special_tokens) const {
  if (template_.empty()) {
    return encoding;
  }
  Encoding result;
  for (const TemplatePart& part : template_) {
    if (part.is_text) {
      result.ids.insert(result.ids.end(), encoding.ids.begin(), encoding.ids.end());
      result.spans.insert(result.spans.end(), encoding.spans.begin(), encoding.spans.end());
    } else if (add_special_tokens) {
      result.ids.insert(result.ids.end(), part.ids.begin(), part.ids.end());
      result.spans.insert(result.spans.end(), part.ids.size(), ByteSpan{});
    }
  }
  return result;
}

}  // namespace nibble::text
