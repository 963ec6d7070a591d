#pragma once

#include <nibble/text/tokenizer.h>

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

/// A rendered conversation.
struct RenderedChat {
  std::string text;
  /// Byte ranges of `text` inside {% generation %} blocks, in the order in which the blocks end;
  /// empty without such blocks. Inside a macro or a captured block transformers counts from the
  /// text before it; so does this.
  std::vector<ByteSpan> generation_spans;
};

/// A chat template: the Jinja subset that published models use, rendered as transformers'
/// `render_jinja_template` does (sandboxed Jinja 3.1, trim_blocks, lstrip_blocks, the `generation`
/// block, `raise_exception`, `strftime_now`, `tojson` without HTML escapes).
/// Templates are untrusted: steps, output size and nesting are bounded; nothing outside the given
/// variables is reachable. Thread-safe after construction; copies share the parsed template.
class ChatTemplate {
 public:
  /// Parses. Throws Error with the template's line number on bad or unsupported syntax.
  explicit ChatTemplate(std::string_view source);

  /// `messages` is an array of {"role", "content", ...}; `tools` an array of objects or null;
  /// `variables` an object with further names (bos_token, eos_token, date_string, ...) or null.
  /// Ordered, because templates print objects (`tool | tojson`) in the order of their keys: parse
  /// with nlohmann::ordered_json::parse.
  /// As transformers does, a message's "reasoning_content", "thinking" or "reasoning" is visible
  /// under the first two names, and `tools` and `documents` are none rather than undefined.
  /// Throws Error with the line number, also when the template calls raise_exception.
  RenderedChat render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                      bool add_generation_prompt, const nlohmann::ordered_json& variables) const;

 private:
  class Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace nibble::text
