#include <nibble/core/error.h>
#include <nibble/eval/chat_session.h>
#include <nibble/text/stream_decoder.h>

namespace nibble::eval {
namespace {

using nlohmann::ordered_json;

ordered_json message_of(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

}  // namespace

ChatSession::ChatSession(models::CausalLMImpl& model, data::TextFormat format,
                         models::GenerationOptions options, std::optional<std::string> system)
    : model_(model),
      format_(std::move(format)),
      options_(std::move(options)),
      system_(std::move(system)) {
  NIBBLE_CHECK(format_.chat_template, "a chat needs a chat template, and this model has none");
  options_.cache = &cache_;
  reset();
}

void ChatSession::reset() {
  conversation_.messages = ordered_json::array();
  if (system_) conversation_.messages.push_back(message_of("system", *system_));
}

ChatAnswer ChatSession::answer(const std::string& message,
                               const std::function<bool(std::string_view)>& on_text) {
  conversation_.messages.push_back(message_of("user", message));
  try {
    ChatAnswer answer = generate(on_text);
    conversation_.messages.push_back(message_of("assistant", answer.text));
    ++options_.seed;
    return answer;
  } catch (...) {
    conversation_.messages.erase(conversation_.messages.end() - 1);
    throw;
  }
}

ChatAnswer ChatSession::generate(const std::function<bool(std::string_view)>& on_text) {
  const std::vector<int64_t> prompt = data::encode_prompt(format_, conversation_);
  ChatAnswer answer{.prompt_tokens = static_cast<int64_t>(prompt.size())};
  text::StreamDecoder decoder(format_.tokenizer);
  const auto give = [&](const std::string& piece) {
    answer.text += piece;
    return piece.empty() || !on_text || on_text(piece);
  };
  options_.on_token = [&](int64_t token) { return give(decoder.push(token)); };
  answer.generation = models::generate(model_, prompt, options_);
  give(decoder.finish());
  return answer;
}

}  // namespace nibble::eval
