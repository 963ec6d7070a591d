#pragma once

#include <nibble/core/error.h>
#include <nibble/data/json_rows.h>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nibble::data {

/// What the rows of a dataset look like.
enum class RowFormat {
  kColumns,    ///< columns named by ColumnMapping
  kChat,       ///< `messages` (OpenAI) or `conversations` (ShareGPT), optional `tools`
  kSquad,      ///< `context`, `question`, `answers.text`
  kHellaSwag,  ///< `ctx` (else `query`), `endings`, `label`
};

/// Which columns of a row make the prompt and the answer.
struct ColumnMapping {
  std::optional<std::string> context = std::nullopt;  ///< the system message of a chat
  /// The user's message: the columns that are not empty, joined with `separator`.
  std::vector<std::string> question;
  std::string answer;
  std::string separator = "\n\n";
};

/// instruction, input -> output.
ColumnMapping alpaca_columns();

/// A question and its answer as plain text.
struct PromptAndAnswer {
  std::string context;  ///< empty: none
  std::string question;
  std::string answer;
};

/// A chat as templates take it.
struct Conversation {
  nlohmann::ordered_json messages;  ///< array of {"role", "content", ...}, content always a string
  nlohmann::ordered_json tools = nullptr;  ///< array or null
};

/// A row lacks a column that it should have.
class MissingColumn : public Error {
 public:
  MissingColumn(const std::string& message, std::string name)
      : Error(message), name_(std::move(name)) {}

  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

/// Every reader throws Error that starts with the row's origin; a missing column is a MissingColumn
/// and answered with the columns that the row has.

/// Columns by `mapping`. Null context and question columns count as empty, numbers and booleans as
/// their JSON text; the answer must be there and not null.
PromptAndAnswer read_columns(const JsonRow& row, const ColumnMapping& mapping);

/// SQuAD: question "Context: {context} Question: {question} Answer: ", answer the first of
/// `answers.text` without surrounding white space, empty where there is none.
/// Source: NeMo Automodel, make_squad_dataset.
PromptAndAnswer read_squad(const JsonRow& row);

/// HellaSwag: question `ctx` (else `query`), answer the ending that `label` (number or digits)
/// chooses. Source: NeMo Automodel, HellaSwag.
PromptAndAnswer read_hellaswag(const JsonRow& row);

/// The index of the right ending of a HellaSwag row, checked against its `endings`.
size_t hellaswag_label(const JsonRow& row);

/// OpenAI or ShareGPT. Roles: system, developer, user, assistant, tool; ShareGPT's human, gpt,
/// function_call, observation and the like are mapped to them. Null content becomes empty, lists of
/// text parts are joined with a space. Other fields of a message (tool_calls, ...) are kept.
Conversation read_conversation(const JsonRow& row);

/// One user message, to be answered.
Conversation to_conversation(const std::string& user_message);
/// [system], user, assistant messages.
Conversation to_conversation(const PromptAndAnswer& sample);

}  // namespace nibble::data
