#pragma once

#include <nibble/data/conversation.h>
#include <nibble/data/row.h>
#include <nibble/io/checkpoint.h>
#include <nibble/text/chat_template.h>
#include <nibble/text/tokenizer.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble::data {

/// How a model wants its text.
struct TextFormat {
  text::Tokenizer tokenizer;
  std::optional<text::ChatTemplate> chat_template = std::nullopt;
  /// bos_token, eos_token, ... for the template.
  nlohmann::ordered_json template_variables = nlohmann::ordered_json::object();
  std::optional<int64_t> eos_id = std::nullopt;
  int64_t pad_id = 0;  ///< the tokenizer's pad token, else its end token, else 0
};

/// The text format of a checkpoint. `chat_template` (Jinja source, or a file that holds it) takes
/// the place of the checkpoint's own.
TextFormat read_text_format(const io::Checkpoint& checkpoint,
                            const std::optional<std::string>& chat_template = std::nullopt);

/// The ids a model is asked with: the template's text up to the start of the next answer. Throws
/// Error without a chat template.
std::vector<int64_t> encode_prompt(const TextFormat& format, const Conversation& conversation);

/// Which tokens are targets.
struct TargetRule {
  bool answer_only = true;    ///< false: every token after the first
  bool mask_history = false;  ///< of several assistant turns only the last
};

/// Renders the conversation with the chat template, no further special tokens, and marks as targets
/// the tokens that hold a byte of an assistant turn.
/// Where the template has {% generation %} blocks, those are the turns. Otherwise a turn is what
/// its message adds to the text of the messages before it with the generation prompt: answer, end
/// of turn, and the template's newline. A template for which the latter is not a prefix of the
/// whole text (one that drops earlier reasoning, say) gives an Error that names the two ways out.
Row encode_conversation(const TextFormat& format, const Conversation& conversation,
                        const TargetRule& rule);

/// Without a chat template: "{context} {question} {answer}" with the tokenizer's own special tokens
/// and the end token. A blank is put only where neither side has white space. Targets are the
/// tokens that hold a byte of the answer, and the end token. Throws Error without an end token.
Row encode_plain(const TextFormat& format, const PromptAndAnswer& sample, const TargetRule& rule);

/// HellaSwag as Automodel trains it: context and ending tokenized apart and joined, no end token,
/// the ending's tokens are the targets.
Row encode_continuation(const TextFormat& format, const PromptAndAnswer& sample);

}  // namespace nibble::data
