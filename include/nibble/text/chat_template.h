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
  /// Byte ranges of `text` inside {% generation %} blocks; empty without such blocks.
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

  /// `messages` is an array of {"role", "content", ...}; `tools` an array or null; `variables` an
  /// object with further names (bos_token, eos_token, date_string, ...).
  /// Throws Error with the line number, also when the template calls raise_exception.
  RenderedChat render(const nlohmann::json& messages, const nlohmann::json& tools,
                      bool add_generation_prompt, const nlohmann::json& variables) const;

 private:
  class Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace nibble::text
