#include <nibble/core/error.h>
#include <nibble/text/chat_template.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <utility>

#include "jinja_globals.h"
#include "jinja_interpreter.h"
#include "jinja_json.h"
#include "jinja_parser.h"
#include "jinja_strings.h"

namespace nibble::text {
namespace {

using Json = nlohmann::ordered_json;

void check_messages(const Json& messages) {
  NIBBLE_CHECK(messages.is_array(), "chat template: messages must be an array of objects, got ",
               messages.type_name());
  for (size_t i = 0; i < messages.size(); ++i) {
    NIBBLE_CHECK(messages[i].is_object(), "chat template: message ", i, " must be an object, got ",
                 messages[i].type_name());
  }
}

void check_tools(const Json& tools) {
  NIBBLE_CHECK(tools.is_null() || tools.is_array(),
               "chat template: tools must be null or an array of objects, got ", tools.type_name());
  for (size_t i = 0; i < tools.size(); ++i) {
    NIBBLE_CHECK(tools[i].is_object(), "chat template: tool ", i, " must be an object, got ",
                 tools[i].type_name());
  }
}

/// A message's reasoning stands under one of three names; templates find it under the first two.
Json alias_reasoning(const Json& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (found != message.end() && !found->is_null()) {
      Json result = {{"thinking", *found}};
      result.update(message);
      result["reasoning_content"] = *found;
      return result;
    }
  }
  return message;
}

Json context(const Json& messages, const Json& tools, bool add_generation_prompt,
             const Json& variables) {
  Json result = variables.is_null() ? Json::object() : variables;
  Json aliased = Json::array();
  for (const Json& message : messages) {
    aliased.push_back(alias_reasoning(message));
  }
  result["messages"] = std::move(aliased);
  result["tools"] = tools;
  if (!result.contains("documents")) {
    result["documents"] = nullptr;
  }
  result["add_generation_prompt"] = add_generation_prompt;
  return result;
}

/// Character ranges, in any order, as byte ranges of `text`.
std::vector<ByteSpan> to_bytes(const std::string& text,
                               const std::vector<std::pair<size_t, size_t>>& characters) {
  std::vector<size_t> starts;  // the byte at which each character starts
  if (!characters.empty()) {
    for (size_t at = 0; at < text.size(); at += jinja::code_point_bytes(text, at)) {
      starts.push_back(at);
    }
  }
  const auto byte = [&](size_t character) {
    return character < starts.size() ? starts[character] : text.size();
  };
  std::vector<ByteSpan> spans;
  for (const auto& [begin, end] : characters) {
    spans.push_back({byte(begin), byte(end)});
  }
  return spans;
}

}  // namespace

class ChatTemplate::Impl {
 public:
  explicit Impl(std::string_view source)
      : template_(jinja::Parser(jinja::tokenize(source)).parse()) {}

  RenderedChat render(const Json& variables) const {
    const jinja::Value values = jinja::from_json(variables);
    jinja::Interpreter interpreter(template_, values.dict(), jinja::globals());
    try {
      interpreter.run();
    } catch (const Error& error) {
      fail("chat template, line ", interpreter.line(), ": ", error.what());
    }
    return {interpreter.text(), to_bytes(interpreter.text(), interpreter.generation_characters())};
  }

 private:
  jinja::Template template_;
};

ChatTemplate::ChatTemplate(std::string_view source) : impl_(std::make_shared<Impl>(source)) {}

RenderedChat ChatTemplate::render(const Json& messages, const Json& tools,
                                  bool add_generation_prompt, const Json& variables) const {
  check_messages(messages);
  check_tools(tools);
  NIBBLE_CHECK(variables.is_null() || variables.is_object(),
               "chat template: variables must be an object, got ", variables.type_name());
  return impl_->render(context(messages, tools, add_generation_prompt, variables));
}

}  // namespace nibble::text
