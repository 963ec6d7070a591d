#pragma once

#include <nibble/text/tokenizer.h>

#include <optional>
#include <string_view>
#include <vector>

#include "json_node.h"

namespace nibble::text {

/// Adds the special tokens and trims white space from the spans.
class PostProcessor {
 public:
  PostProcessor() = default;
  /// Reads the "post_processor" of a tokenizer.json. Throws Error for types that are not supported.
  explicit PostProcessor(const JsonNode& node) { read(node, 0); }

  bool trims() const { return !trimmings_.empty(); }
  /// The span of `input` without the white space at the ends of `token`, the token's text in the
  /// byte alphabet or plain.
  ByteSpan trimmed(ByteSpan span, std::string_view input, std::string_view token,
                   bool is_first) const;

  /// The encoding in its template. Without special tokens the template still says how often the
  /// text is there.
  Encoding fill_template(Encoding encoding, bool add_special_tokens) const;

 private:
  struct TemplatePart {
    bool is_text = false;
    std::vector<int64_t> ids;
  };
  struct Trimming {
    bool keeps_prefix_space = false;
  };

  void read(const JsonNode& node, int depth);
  void read_template(const JsonNode& node);

  std::vector<TemplatePart> template_;  // empty: the text alone
  std::vector<Trimming> trimmings_;
};

}  // namespace nibble::text
