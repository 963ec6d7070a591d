#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/data/tiny_text_format.h"

namespace nibble::data {
namespace {

using nibble::testing::TinyText;
using json = nlohmann::ordered_json;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
constexpr const char* kChatMlGeneration =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// Drops all but the last assistant's text, as templates of reasoning models do.
constexpr const char* kForgetful =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'user' or loop.last %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The text of the targets of a row, specials as "<" and ">".
std::string target_text(const Row& row) {
  std::string text;
  for (const int64_t label : row.labels) {
    if (label == kIgnoreIndex) continue;
    text += label == TinyText::kNewlines ? "\n\n"
            : label == TinyText::kStart  ? "<"
            : label == TinyText::kEnd    ? ">"
                                         : std::string(1, static_cast<char>(label));
  }
  return text;
}

Conversation two_turns() {
  return {json::parse(R"([{"role": "user", "content": "Hi"},
                          {"role": "assistant", "content": "Yes"},
                          {"role": "user", "content": "So"},
                          {"role": "assistant", "content": "No"}])")};
}

TEST(EncodeConversation, ShiftsLabelsAndMasksThePrompt) {
  const TextFormat format = TinyText::format(kChatMl);
  const Conversation chat = to_conversation({.context = "", .question = "Q", .answer = "A"});
  const Row row = encode_conversation(format, chat, {});
  // <|im_start|> u s e r \n Q <|im_end|> \n <|im_start|> a s s i s t a n t \n A <|im_end|> \n
  ASSERT_EQ(row.ids.size(), 22u);
  EXPECT_EQ(row.ids.size(), row.labels.size());
  EXPECT_EQ(row.target_count(), 3);
  const std::vector<int64_t> prompt =
      encode_prompt(format, {json::parse(R"([{"role": "user", "content": "Q"}])")});
  ASSERT_EQ(prompt.size(), 20u);
  EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), row.ids.begin()));
  EXPECT_THAT(std::vector<int64_t>(row.labels.begin(), row.labels.begin() + 19),
              Each(kIgnoreIndex));
  EXPECT_THAT(std::vector<int64_t>(row.labels.begin() + 19, row.labels.end()),
              ElementsAre('A', TinyText::kEnd, '\n'));
}

TEST(EncodeConversation, EveryAssistantTurnOrTheLast) {
  const TextFormat format = TinyText::format(kChatMl);
  EXPECT_EQ(target_text(encode_conversation(format, two_turns(), {})), "Yes>\nNo>\n");
  EXPECT_EQ(target_text(encode_conversation(format, two_turns(), {.mask_history = true})), "No>\n");
}

TEST(EncodeConversation, AllTokensWithoutTheMask) {
  const TextFormat format = TinyText::format(kChatMl);
  const Row row = encode_conversation(format, two_turns(), {.answer_only = false});
  EXPECT_EQ(row.target_count(), static_cast<int64_t>(row.ids.size()));
}

TEST(EncodeConversation, GenerationBlocksDecideWhereTheyStand) {
  const TextFormat format = TinyText::format(kChatMlGeneration);
  EXPECT_EQ(target_text(encode_conversation(format, two_turns(), {})), "Yes>No>");
  EXPECT_EQ(target_text(encode_conversation(format, two_turns(), {.mask_history = true})), "No>");
}

TEST(EncodeConversation, TemplatesThatDropHistoryNeedAWayOut) {
  const TextFormat format = TinyText::format(kForgetful);
  try {
    encode_conversation(format, two_turns(), {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("{% generation %}"));
    EXPECT_THAT(error.what(), HasSubstr("mask_history: true"));
  }
  EXPECT_EQ(target_text(encode_conversation(format, two_turns(), {.mask_history = true})), "No>\n");
}

TEST(EncodeConversation, ATokenAcrossTheBoundaryIsATarget) {
  const TextFormat format = TinyText::format(kChatMl);
  const Conversation chat = to_conversation({.context = "", .question = "Q", .answer = "\n\nA"});
  // "assistant\n" + "\n\nA": the tokenizer joins the prompt's newline with the answer's first.
  EXPECT_EQ(target_text(encode_conversation(format, chat, {})), "\n\n\nA>\n");
}

TEST(EncodeConversation, NoAssistantTurnMeansNoTarget) {
  const TextFormat format = TinyText::format(kChatMl);
  const Conversation chat{json::parse(R"([{"role": "user", "content": "Hi"}])")};
  EXPECT_EQ(encode_conversation(format, chat, {}).target_count(), 0);
}

TEST(EncodeConversation, NeedsATemplate) {
  EXPECT_THROW(encode_conversation(TinyText::format(""), two_turns(), {}), Error);
  EXPECT_THROW(encode_prompt(TinyText::format(""), two_turns()), Error);
}

TEST(EncodePlain, JoinsWordsAndEndsTheText) {
  const TextFormat format = TinyText::format("");
  const Row row = encode_plain(format, {.context = "C", .question = "Q:", .answer = "A"}, {});
  EXPECT_THAT(row.ids, ElementsAre('C', ' ', 'Q', ':', ' ', 'A'));
  EXPECT_THAT(row.labels, ElementsAre(-100, -100, -100, -100, 'A', TinyText::kEnd));
  const Row spaced = encode_plain(format, {.context = "", .question = "Q: ", .answer = "A"}, {});
  EXPECT_THAT(spaced.ids, ElementsAre('Q', ':', ' ', 'A'));
}

TEST(EncodePlain, WithoutTheMaskTheWholeTextIsTrained) {
  const Row row =
      encode_plain(TinyText::format(""), {.context = "", .question = "Q", .answer = "A"},
                   {.answer_only = false});
  EXPECT_THAT(row.labels, ElementsAre(' ', 'A', TinyText::kEnd));
}

TEST(EncodePlain, NeedsAnEndToken) {
  TextFormat format = TinyText::format("");
  format.eos_id.reset();
  EXPECT_THROW(encode_plain(format, {.context = "", .question = "Q", .answer = "A"}, {}), Error);
}

TEST(EncodeContinuation, TokenizesContextAndEndingApart) {
  const Row row = encode_continuation(TinyText::format(""),
                                      {.context = "", .question = "a\n", .answer = "\nb"});
  EXPECT_THAT(row.ids, ElementsAre('a', '\n', '\n'));  // not the merged "\n\n"
  EXPECT_THAT(row.labels, ElementsAre(-100, '\n', 'b'));
}

}  // namespace
}  // namespace nibble::data
