#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>
#include <nibble/io/file.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

namespace nibble::data {
namespace {

using nlohmann::json;
using text::ByteSpan;

/// Tokens and whether each is a target.
struct MarkedTokens {
  std::vector<int64_t> ids;
  std::vector<bool> is_target;
};

Row shift(const MarkedTokens& tokens) {
  Row row;
  if (tokens.ids.empty()) return row;
  row.ids.assign(tokens.ids.begin(), tokens.ids.end() - 1);
  row.labels.resize(row.ids.size(), kIgnoreIndex);
  for (size_t t = 0; t < row.labels.size(); ++t) {
    if (tokens.is_target[t + 1]) row.labels[t] = tokens.ids[t + 1];
  }
  return row;
}

MarkedTokens mark(text::Encoding encoding, const std::vector<ByteSpan>& targets) {
  MarkedTokens tokens{std::move(encoding.ids), {}};
  tokens.is_target.reserve(tokens.ids.size());
  for (const ByteSpan& span : encoding.spans) {
    tokens.is_target.push_back(
        std::any_of(targets.begin(), targets.end(), [&](const ByteSpan& target) {
          return span.begin < target.end && target.begin < span.end;
        }));
  }
  return tokens;
}

/// The first `count` messages.
nlohmann::ordered_json leading_messages(const nlohmann::ordered_json& messages, size_t count) {
  nlohmann::ordered_json part = nlohmann::ordered_json::array();
  for (size_t i = 0; i < count; ++i) {
    part.push_back(messages[i]);
  }
  return part;
}

const text::ChatTemplate& template_of(const TextFormat& format) {
  NIBBLE_CHECK(format.chat_template,
               "the model has no chat template; give one (dataset.chat_template), or use plain "
               "text (dataset.use_hf_chat_template: false)");
  return *format.chat_template;
}

/// Finds the bytes of assistant turns in a rendered conversation by rendering its beginnings.
class TurnFinder {
 public:
  TurnFinder(const TextFormat& format, const Conversation& conversation, std::string_view whole)
      : format_(format), conversation_(conversation), whole_(whole) {}

  ByteSpan find(size_t message) const {
    const ByteSpan span{prefix_length(message, /*add_generation_prompt=*/true),
                        prefix_length(message + 1, /*add_generation_prompt=*/false)};
    NIBBLE_CHECK(span.begin <= span.end,
                 "the generation prompt of the chat template is longer "
                 "than the turn that it starts; ",
                 kWaysOut);
    return span;
  }

 private:
  static constexpr std::string_view kWaysOut =
      "mark the assistant's text with {% generation %} in the template, or train the last turn "
      "only "
      "(mask_history: true)";

  /// Length of the text of the first `count` messages, which must start the whole text.
  size_t prefix_length(size_t count, bool add_generation_prompt) const {
    if (count == conversation_.messages.size() && !add_generation_prompt) return whole_.size();
    const std::string part =
        template_of(format_)
            .render(leading_messages(conversation_.messages, count), conversation_.tools,
                    add_generation_prompt, format_.template_variables)
            .text;
    const auto differs = std::mismatch(part.begin(), part.end(), whole_.begin(), whole_.end());
    NIBBLE_CHECK(differs.first == part.end(), "the chat template renders the first ", count,
                 " messages ", add_generation_prompt ? "with the generation prompt " : "",
                 "differently inside the whole conversation (from byte ",
                 differs.first - part.begin(), "); ", kWaysOut);
    return part.size();
  }

  const TextFormat& format_;
  const Conversation& conversation_;
  std::string_view whole_;
};

std::vector<ByteSpan> assistant_turns(const TextFormat& format, const Conversation& conversation,
                                      const text::RenderedChat& chat, bool last_only) {
  std::vector<ByteSpan> turns = chat.generation_spans;
  if (turns.empty()) {
    const TurnFinder finder(format, conversation, chat.text);
    for (size_t i = conversation.messages.size(); i-- > 0;) {
      if (conversation.messages[i].at("role") != "assistant") continue;
      turns.push_back(finder.find(i));
      if (last_only) break;
    }
    return turns;
  }
  if (last_only) turns.erase(turns.begin(), turns.end() - 1);
  return turns;
}

/// `left` and `right` with a blank between them where neither brings white space.
std::string join_words(std::string left, std::string_view right) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  const bool needs_blank =
      !left.empty() && !right.empty() && !is_space(left.back()) && !is_space(right.front());
  if (needs_blank) left += ' ';
  return left.append(right);
}

std::optional<int64_t> token_id(const text::Tokenizer& tokenizer, const json& config,
                                const char* name) {
  const auto found = config.find(name);
  if (found == config.end() || !found->is_string()) return std::nullopt;
  return tokenizer.token_to_id(found->get_ref<const std::string&>());
}

/// `eos_token_id` of config.json: a number or a list of them.
std::optional<int64_t> configured_eos_id(const json& config) {
  const auto found = config.find("eos_token_id");
  if (found == config.end()) return std::nullopt;
  const json& value = found->is_array() && !found->empty() ? found->front() : *found;
  if (!value.is_number_integer()) return std::nullopt;
  return value.get<int64_t>();
}

/// Jinja source, from `source_or_file`.
std::string template_source(const std::string& source_or_file) {
  return source_or_file.find('{') == std::string::npos ? io::read_text_file(source_or_file)
                                                       : source_or_file;
}

}  // namespace

TextFormat read_text_format(const io::Checkpoint& checkpoint,
                            const std::optional<std::string>& chat_template) {
  const json& config = checkpoint.tokenizer_config();
  TextFormat format{text::Tokenizer::from_json(checkpoint.tokenizer_json(),
                                               checkpoint.path().string() + ": tokenizer"),
                    std::nullopt, nlohmann::ordered_json::object(), std::nullopt, 0};
  if (chat_template) {
    format.chat_template.emplace(template_source(*chat_template));
  } else if (const std::optional<std::string> own = checkpoint.chat_template()) {
    format.chat_template.emplace(*own);
  }
  for (const auto& [name, value] : config.items()) {
    if (name.ends_with("_token") && value.is_string()) format.template_variables[name] = value;
  }
  format.eos_id = token_id(format.tokenizer, config, "eos_token");
  if (!format.eos_id) format.eos_id = configured_eos_id(checkpoint.config());
  format.pad_id =
      token_id(format.tokenizer, config, "pad_token").value_or(format.eos_id.value_or(0));
  return format;
}

std::vector<int64_t> encode_prompt(const TextFormat& format, const Conversation& conversation) {
  const text::RenderedChat chat =
      template_of(format).render(conversation.messages, conversation.tools,
                                 /*add_generation_prompt=*/true, format.template_variables);
  return format.tokenizer.encode_ids(chat.text, /*add_special_tokens=*/false);
}

Row encode_conversation(const TextFormat& format, const Conversation& conversation,
                        const TargetRule& rule) {
  const text::RenderedChat chat =
      template_of(format).render(conversation.messages, conversation.tools,
                                 /*add_generation_prompt=*/false, format.template_variables);
  const std::vector<ByteSpan> targets =
      rule.answer_only ? assistant_turns(format, conversation, chat, rule.mask_history)
                       : std::vector<ByteSpan>{{0, chat.text.size()}};
  return shift(mark(format.tokenizer.encode(chat.text, /*add_special_tokens=*/false), targets));
}

Row encode_plain(const TextFormat& format, const PromptAndAnswer& sample, const TargetRule& rule) {
  NIBBLE_CHECK(format.eos_id,
               "plain text rows end with the tokenizer's end token, but it has none");
  const std::string prompt = join_words(sample.context, sample.question);
  const std::string whole = join_words(prompt, sample.answer);
  const size_t answer_begin = rule.answer_only ? whole.size() - sample.answer.size() : 0;
  MarkedTokens tokens = mark(format.tokenizer.encode(whole, /*add_special_tokens=*/true),
                             {{answer_begin, whole.size()}});
  if (tokens.ids.empty() || tokens.ids.back() != *format.eos_id) {
    tokens.ids.push_back(*format.eos_id);
    tokens.is_target.push_back(true);
  }
  tokens.is_target.back() = true;
  return shift(tokens);
}

Row encode_continuation(const TextFormat& format, const PromptAndAnswer& sample) {
  MarkedTokens tokens{format.tokenizer.encode_ids(sample.question, /*add_special_tokens=*/true),
                      {}};
  tokens.is_target.resize(tokens.ids.size(), false);
  const std::vector<int64_t> answer =
      format.tokenizer.encode_ids(sample.answer, /*add_special_tokens=*/false);
  tokens.ids.insert(tokens.ids.end(), answer.begin(), answer.end());
  tokens.is_target.resize(tokens.ids.size(), true);
  return shift(tokens);
}

}  // namespace nibble::data
