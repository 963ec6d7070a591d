#pragma once

#include <nibble/data/row_encoder.h>
#include <nibble/models/generation.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace nibble::eval {

/// What a model said.
struct ChatAnswer {
  std::string text = {};
  int64_t prompt_tokens = 0;  ///< of the whole conversation; those computed: generation.cost
  models::Generation generation = {};
};

/// A conversation through the model's chat template. Messages and answers are kept, and with them
/// the KV cache: a turn computes only what is new to it.
class ChatSession {
 public:
  /// `options.on_token` and `options.cache` are not used. Turn n is sampled with seed + n. Throws
  /// Error without a chat template. The model must outlive the session.
  ChatSession(models::CausalLMImpl& model, data::TextFormat format,
              models::GenerationOptions options, std::optional<std::string> system = {});

  /// Answers a user's message. `on_text` gets the answer piece by piece, whole characters each, and
  /// may end it by returning false. Throws Error, and forgets the message, when the conversation
  /// fills the model's context or the template refuses it.
  ChatAnswer answer(const std::string& message,
                    const std::function<bool(std::string_view)>& on_text = {});

  /// Forgets all but the system message.
  void reset();

 private:
  ChatAnswer generate(const std::function<bool(std::string_view)>& on_text);

  models::CausalLMImpl& model_;
  data::TextFormat format_;
  models::GenerationOptions options_;
  std::optional<std::string> system_;
  data::Conversation conversation_;
  models::PrefixCache cache_;
};

}  // namespace nibble::eval
