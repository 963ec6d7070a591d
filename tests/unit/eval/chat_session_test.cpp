#include <nibble/core/error.h>
#include <nibble/eval/chat_session.h>
#include <nibble/eval/memory.h>
#include <nibble/eval/model_loading.h>
#include <nibble/quantization/quantize.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace nibble::eval {
namespace {

using nlohmann::ordered_json;

class ChatSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_tiny_model(folder_ / "model");
    loaded_ = load_any_model(folder_ / "model");
    format_ = data::read_text_format(*loaded_.checkpoint);
  }

  /// Without a stop token an answer is 12 tokens of a random model.
  models::GenerationOptions options() const {
    return {.max_new_tokens = 12, .stop_ids = std::vector<int64_t>{}};
  }

  ChatSession session(std::optional<std::string> system = {}) {
    return ChatSession(*loaded_.model, *format_, options(), std::move(system));
  }

  /// The answer to `messages`, everything computed anew.
  models::Generation answer_to(const ordered_json& messages, int64_t& prompt_tokens) {
    const auto prompt = data::encode_prompt(*format_, {.messages = messages});
    prompt_tokens = static_cast<int64_t>(prompt.size());
    return models::generate(*loaded_.model, prompt, options());
  }

  testing::TempDir folder_;
  LoadedModel loaded_;
  std::optional<data::TextFormat> format_;
};

TEST_F(ChatSessionTest, AnswersTheWholeConversationAndComputesTheNewPart) {
  ChatSession chat = session("Be brief");
  ordered_json messages = {{{"role", "system"}, {"content", "Be brief"}}};
  for (const char* const message : {"One", "Two", "Three"}) {
    messages.push_back({{"role", "user"}, {"content", message}});
    int64_t prompt_tokens = 0;
    const models::Generation truth = answer_to(messages, prompt_tokens);
    const ChatAnswer answer = chat.answer(message);
    EXPECT_EQ(answer.generation.tokens, truth.tokens);
    EXPECT_EQ(answer.text, format_->tokenizer.decode(truth.tokens, true));
    EXPECT_EQ(answer.prompt_tokens, prompt_tokens);
    if (messages.size() == 2) {
      EXPECT_EQ(answer.generation.cost.prefill_tokens, prompt_tokens);
    } else {
      EXPECT_LT(answer.generation.cost.prefill_tokens, prompt_tokens - 20);
    }
    messages.push_back({{"role", "assistant"}, {"content", answer.text}});
  }
}

TEST_F(ChatSessionTest, ResetKeepsTheSystemMessage) {
  ChatSession chat = session("Be brief");
  const ChatAnswer first = chat.answer("One");
  chat.answer("Two");
  chat.reset();
  const ChatAnswer again = chat.answer("One");
  EXPECT_EQ(again.prompt_tokens, first.prompt_tokens);
  EXPECT_EQ(again.generation.tokens, first.generation.tokens);
}

TEST_F(ChatSessionTest, StreamsTheTextAndMayBeEnded) {
  std::string streamed;
  ChatSession chat = session();
  const ChatAnswer whole = chat.answer("One", [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  EXPECT_EQ(streamed, whole.text);
  const ChatAnswer ended = session().answer("One", [](std::string_view) { return false; });
  EXPECT_EQ(ended.generation.finish, models::FinishReason::kCallback);
  EXPECT_LT(ended.generation.tokens.size(), whole.generation.tokens.size());
}

TEST_F(ChatSessionTest, AMessageThatDoesNotFitIsForgotten) {
  ChatSession chat = session();
  EXPECT_THROW(chat.answer(std::string(300, 'x')), Error);  // the model has 256 positions
  EXPECT_EQ(chat.answer("One").generation.tokens, session().answer("One").generation.tokens);
}

TEST_F(ChatSessionTest, NeedsAChatTemplate) {
  format_->chat_template.reset();
  EXPECT_THROW(session(), Error);
}

TEST_F(ChatSessionTest, MemoryCountsAStorageOnce) {
  int64_t parameters = 0;
  for (const std::string& name : loaded_.checkpoint->tensor_names()) {
    parameters += loaded_.checkpoint->stored(name).bytes;  // float32, the tied head stored once
  }
  EXPECT_EQ(memory_bytes(*loaded_.model), parameters);
  int64_t linears = 0;
  const QuantizationReport report =
      quantize_(*loaded_.model, int8_dynamic_activation_int4_weight(32, at::kBFloat16));
  for (const LayerReport& layer : report.layers) {
    if (layer.swapped) linears += layer.in_features * layer.out_features;
  }
  // 4 bytes a weight become a half and a bfloat16 scale every 32.
  EXPECT_EQ(memory_bytes(*loaded_.model), parameters - 4 * linears + linears / 2 + linears / 16);
}

}  // namespace
}  // namespace nibble::eval
