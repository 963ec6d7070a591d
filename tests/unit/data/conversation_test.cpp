#include <nibble/core/error.h>
#include <nibble/data/conversation.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace nibble::data {
namespace {

using json = nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

JsonRow row(const std::string& text) { return {json::parse(text), "rows.jsonl:7"}; }

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Columns, AlpacaJoinsInstructionAndInput) {
  PromptAndAnswer sample = read_columns(
      row(R"({"instruction": "Add.", "input": "1, 2", "output": "3"})"), alpaca_columns());
  EXPECT_EQ(sample.question, "Add.\n\n1, 2");
  EXPECT_EQ(sample.answer, "3");
  EXPECT_EQ(sample.context, "");
  sample =
      read_columns(row(R"({"instruction": "Add.", "input": "", "output": "3"})"), alpaca_columns());
  EXPECT_EQ(sample.question, "Add.");
}

TEST(Columns, MapsAnyColumns) {
  const ColumnMapping mapping{
      .context = "c", .question = {"q", "r"}, .answer = "a", .separator = " | "};
  const PromptAndAnswer sample =
      read_columns(row(R"({"c": null, "q": 1.5, "r": true, "a": 42})"), mapping);
  EXPECT_EQ(sample.context, "");
  EXPECT_EQ(sample.question, "1.5 | true");
  EXPECT_EQ(sample.answer, "42");
}

TEST(Columns, MissingColumnNamesTheColumnsFound) {
  EXPECT_THAT(
      error_of([] { read_columns(row(R"({"instruction": "", "out": ""})"), alpaca_columns()); }),
      AllOf(StartsWith("rows.jsonl:7: "), HasSubstr("\"input\""),
            HasSubstr("columns found: instruction, out")));
}

TEST(Columns, AnswerMustBeText) {
  const auto read = [](const std::string& text) {
    return error_of([&] { read_columns(row(text), {.question = {"q"}, .answer = "a"}); });
  };
  EXPECT_THAT(read(R"({"q": "", "a": null})"), HasSubstr("null"));
  EXPECT_THAT(read(R"({"q": "", "a": ["x"]})"), HasSubstr("array"));
}

TEST(Squad, FollowsAutomodel) {
  const PromptAndAnswer sample = read_squad(
      row(R"({"context": "C.", "question": "Q?", "answers": {"text": [" A \n", "B"]}})"));
  EXPECT_EQ(sample.question, "Context: C. Question: Q? Answer: ");
  EXPECT_EQ(sample.answer, "A");
  EXPECT_EQ(read_squad(row(R"({"context": "", "question": "", "answers": {"text": []}})")).answer,
            "");
  EXPECT_THAT(error_of([] { read_squad(row(R"({"context": "", "answers": ["A"]})")); }),
              HasSubstr("\"answers\""));
}

TEST(HellaSwag, TakesTheLabelledEnding) {
  const PromptAndAnswer sample = read_hellaswag(
      row(R"({"ctx": "A man", "query": "X: A man", "endings": ["sits.", "runs."], "label": 1})"));
  EXPECT_EQ(sample.question, "A man");
  EXPECT_EQ(sample.answer, "runs.");
  EXPECT_EQ(read_hellaswag(row(R"({"query": "Q", "endings": ["a", "b"], "label": "0"})")).answer,
            "a");
  for (const char* label : {"2", "-1", "\"\"", "\"1x\"", "null", "1.0"}) {
    const std::string text =
        std::string(R"({"ctx": "", "endings": ["a", "b"], "label": )") + label + "}";
    EXPECT_THAT(error_of([&] { read_hellaswag(row(text)); }), HasSubstr("label")) << label;
  }
}

TEST(Chat, KeepsOpenAiMessages) {
  const Conversation chat = read_conversation(row(R"({
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"text": "you"}]},
                 {"role": "assistant", "content": null, "tool_calls": [{"id": 1}]},
                 {"role": "tool", "content": "7"}],
    "tools": "[{\"type\": \"function\", \"name\": \"f\"}]"})"));
  EXPECT_EQ(chat.messages[0]["content"], "Hi you");
  EXPECT_EQ(chat.messages[1]["content"], "");
  EXPECT_EQ(chat.messages[1]["tool_calls"], json::parse(R"([{"id": 1}])"));
  EXPECT_EQ(chat.tools[0].begin().key(), "type");  // templates print keys in the file's order
}

TEST(Chat, MapsShareGptRoles) {
  const Conversation chat = read_conversation(row(R"({"system": "Be brief.", "conversations": [
    {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
    {"from": "observation", "value": "3"}]})"));
  EXPECT_EQ(chat.messages, json::parse(R"([{"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
    {"role": "tool", "content": "3"}])"));
  EXPECT_TRUE(chat.tools.is_null());
}

TEST(Chat, NamesWhatIsWrong) {
  const auto read = [](const std::string& text) {
    return error_of([&] { read_conversation(row(text)); });
  };
  EXPECT_THAT(read(R"({"text": ""})"), HasSubstr("columns found: text"));
  EXPECT_THAT(read(R"({"messages": []})"), HasSubstr("at least one message"));
  EXPECT_THAT(read(R"({"messages": ["hi"]})"), HasSubstr("messages[0]"));
  EXPECT_THAT(read(R"({"messages": [{"role": "bot", "content": ""}]})"),
              AllOf(HasSubstr("\"bot\""), HasSubstr("system, developer, user, assistant, tool")));
  EXPECT_THAT(read(R"({"messages": [{"content": ""}]})"), HasSubstr("\"role\""));
  EXPECT_THAT(read(R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})"),
              HasSubstr("only text parts"));
  EXPECT_THAT(read(R"({"conversations": [{"from": "x", "value": ""}]})"), HasSubstr("human"));
}

}  // namespace
}  // namespace nibble::data
