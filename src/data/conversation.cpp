#include <nibble/core/error.h>
#include <nibble/data/conversation.h>
#include <nibble/io/json.h>

#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace nibble::data {
namespace {

using json = nlohmann::ordered_json;

std::string columns_of(const json& row) {
  std::string names;
  for (const auto& [name, value] : row.items()) {
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "none" : names;
}

const json& column(const JsonRow& row, const std::string& name) {
  const auto found = row.value.find(name);
  if (found == row.value.end()) {
    throw MissingColumn(detail::concat(row.origin, ": no column \"", name,
                                       "\"; columns found: ", columns_of(row.value)),
                        name);
  }
  return *found;
}

std::string text_of(const JsonRow& row, const std::string& name) {
  const json& value = column(row, name);
  if (value.is_string()) return value.get<std::string>();
  NIBBLE_CHECK(value.is_number() || value.is_boolean(), row.origin, ": column \"", name,
               "\" is not text but ", value.type_name());
  return value.dump();
}

std::string text_or_empty(const JsonRow& row, const std::string& name) {
  return column(row, name).is_null() ? std::string() : text_of(row, name);
}

std::string strip(const std::string& text) {
  constexpr std::string_view kSpace = " \t\n\r\f\v";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// The message's text: a string, null, or the text parts of a list.
std::string content_of(const json& content, const std::string& where) {
  if (content.is_null()) return {};
  if (content.is_string()) return content.get<std::string>();
  NIBBLE_CHECK(content.is_array(), where, ": content is text or a list of text parts, found ",
               content.type_name());
  std::string text;
  for (const json& part : content) {
    const bool is_text = part.is_object() && part.contains("text") && part["text"].is_string();
    NIBBLE_CHECK(is_text, where, ": only text parts can be trained on, found ", part.dump());
    if (!text.empty()) text += ' ';
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

struct RoleName {
  std::string_view sharegpt, role;
};
constexpr std::array<RoleName, 15> kShareGptRoles = {{{"human", "user"},
                                                      {"user", "user"},
                                                      {"gpt", "assistant"},
                                                      {"assistant", "assistant"},
                                                      {"chatgpt", "assistant"},
                                                      {"bard", "assistant"},
                                                      {"bing", "assistant"},
                                                      {"bot", "assistant"},
                                                      {"model", "assistant"},
                                                      {"function_call", "assistant"},
                                                      {"system", "system"},
                                                      {"observation", "tool"},
                                                      {"function_response", "tool"},
                                                      {"function", "tool"},
                                                      {"tool", "tool"}}};
constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};

template <class Names, class Name>
std::string allowed_names(const Names& names, Name&& name) {
  std::string text;
  for (const auto& entry : names) {
    text.append(text.empty() ? "" : ", ").append(name(entry));
  }
  return text;
}

std::string string_field(const json& object, const char* name, const std::string& where) {
  const auto found = object.find(name);
  NIBBLE_CHECK(found != object.end() && found->is_string(), where, ": no text field \"", name,
               "\"; fields found: ", columns_of(object));
  return found->get<std::string>();
}

json openai_message(const json& message, const std::string& where) {
  const std::string role = string_field(message, "role", where);
  for (const std::string_view allowed : kRoles) {
    if (role != allowed) continue;
    json normal = message;
    normal["content"] = content_of(message.value("content", json()), where);
    return normal;
  }
  fail(where, ": role \"", role,
       "\"; allowed: ", allowed_names(kRoles, [](std::string_view name) { return name; }));
}

json sharegpt_message(const json& message, const std::string& where) {
  const std::string from = string_field(message, "from", where);
  for (const RoleName& known : kShareGptRoles) {
    if (from != known.sharegpt) continue;
    return {{"role", known.role}, {"content", content_of(message.value("value", json()), where)}};
  }
  fail(where, ": from \"", from, "\"; allowed: ",
       allowed_names(kShareGptRoles, [](const RoleName& name) { return name.sharegpt; }));
}

json tools_of(const JsonRow& row) {
  json tools = row.value.value("tools", json());
  // Hugging Face datasets, whose columns have one type, carry the list as JSON text.
  if (tools.is_string()) {
    const std::string text = tools.get<std::string>();
    tools = text.empty() ? json() : io::parse_ordered_json(text, row.origin + ": tools");
  }
  NIBBLE_CHECK(tools.is_null() || tools.is_array(), row.origin, ": tools is a list, found ",
               tools.type_name());
  return tools;
}

}  // namespace

ColumnMapping alpaca_columns() {
  return {.question = {"instruction", "input"}, .answer = "output"};
}

PromptAndAnswer read_columns(const JsonRow& row, const ColumnMapping& mapping) {
  PromptAndAnswer sample;
  if (mapping.context) sample.context = text_or_empty(row, *mapping.context);
  for (const std::string& name : mapping.question) {
    const std::string part = text_or_empty(row, name);
    if (part.empty()) continue;
    if (!sample.question.empty()) sample.question += mapping.separator;
    sample.question += part;
  }
  sample.answer = text_of(row, mapping.answer);
  return sample;
}

PromptAndAnswer read_squad(const JsonRow& row) {
  const json& answers = column(row, "answers");
  NIBBLE_CHECK(answers.is_object() && answers.contains("text") && answers["text"].is_array(),
               row.origin, ": column \"answers\" is an object with a list \"text\", found ",
               answers.dump().substr(0, 80));
  const json& texts = answers["text"];
  NIBBLE_CHECK(texts.empty() || texts.front().is_string(), row.origin,
               ": answers.text holds texts, found ", texts.front().type_name());
  PromptAndAnswer sample;
  sample.question = "Context: " + text_of(row, "context") +
                    " Question: " + text_of(row, "question") + " Answer: ";
  if (!texts.empty()) sample.answer = strip(texts.front().get<std::string>());
  return sample;
}

size_t hellaswag_label(const JsonRow& row) {
  const json& endings = column(row, "endings");
  NIBBLE_CHECK(endings.is_array(), row.origin, ": column \"endings\" is a list, found ",
               endings.type_name());
  const json& label = column(row, "label");
  int64_t index = -1;
  if (label.is_number_integer()) {
    index = label.get<int64_t>();
  } else if (label.is_string()) {
    const std::string& digits = label.get_ref<const std::string&>();
    const char* end = digits.data() + digits.size();
    if (std::from_chars(digits.data(), end, index).ptr != end) index = -1;
  }
  NIBBLE_CHECK(index >= 0 && static_cast<size_t>(index) < endings.size(), row.origin, ": label ",
               label.dump(), " chooses none of the ", endings.size(), " endings");
  return static_cast<size_t>(index);
}

PromptAndAnswer read_hellaswag(const JsonRow& row) {
  const json& ending = column(row, "endings")[hellaswag_label(row)];
  NIBBLE_CHECK(ending.is_string(), row.origin, ": endings are texts, found ", ending.type_name());
  return {.context = {},
          .question = text_of(row, row.value.contains("ctx") ? "ctx" : "query"),
          .answer = ending.get<std::string>()};
}

Conversation read_conversation(const JsonRow& row) {
  const bool openai = row.value.contains("messages");
  NIBBLE_CHECK(
      openai || row.value.contains("conversations"), row.origin,
      ": no column \"messages\" or \"conversations\"; columns found: ", columns_of(row.value));
  const std::string name = openai ? "messages" : "conversations";
  const json& turns = column(row, name);
  NIBBLE_CHECK(turns.is_array() && !turns.empty(), row.origin, ": column \"", name,
               "\" is a list with at least one message, found ", turns.dump().substr(0, 80));
  Conversation conversation{json::array(), tools_of(row)};
  if (!openai && row.value.contains("system") && !row.value["system"].is_null()) {
    conversation.messages.push_back({{"role", "system"}, {"content", text_of(row, "system")}});
  }
  for (size_t i = 0; i < turns.size(); ++i) {
    const std::string where = detail::concat(row.origin, ": ", name, "[", i, "]");
    NIBBLE_CHECK(turns[i].is_object(), where, ": a message is an object, found ",
                 turns[i].type_name());
    conversation.messages.push_back(openai ? openai_message(turns[i], where)
                                           : sharegpt_message(turns[i], where));
  }
  return conversation;
}

Conversation to_conversation(const std::string& user_message) {
  return {.messages =
              nlohmann::ordered_json::array({{{"role", "user"}, {"content", user_message}}})};
}

Conversation to_conversation(const PromptAndAnswer& sample) {
  Conversation conversation{json::array(), nullptr};
  if (!sample.context.empty()) {
    conversation.messages.push_back({{"role", "system"}, {"content", sample.context}});
  }
  conversation.messages.push_back({{"role", "user"}, {"content", sample.question}});
  conversation.messages.push_back({{"role", "assistant"}, {"content", sample.answer}});
  return conversation;
}

}  // namespace nibble::data
