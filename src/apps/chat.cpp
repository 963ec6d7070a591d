#include "chat.h"

#include <nibble/core/error.h>

#include <nlohmann/json.hpp>

#include <atomic>
#include <csignal>
#include <iostream>
#include <string>

namespace nibble::apps {
namespace {

std::atomic<bool> interrupted{false};

/// For its lifetime SIGINT sets `interrupted`.
class InterruptScope {
 public:
  InterruptScope() : before_(std::signal(SIGINT, [](int) { interrupted = true; })) {
    interrupted = false;
  }
  ~InterruptScope() { std::signal(SIGINT, before_); }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  void (*before_)(int);
};

nlohmann::ordered_json to_json(const eval::ChatAnswer& answer, GenerationReport report) {
  nlohmann::ordered_json json = {{"prompt_tokens", answer.prompt_tokens},
                                 {"tokens", answer.generation.tokens},
                                 {"text", answer.text},
                                 {"finish_reason", name_of(answer.generation.finish)}};
  report.cost = answer.generation.cost;
  report.write(json);
  return json;
}

void answer(eval::ChatSession& session, const std::string& message, const ChatStreams& streams,
            bool json, GenerationReport& report) {
  const auto show = [&](std::string_view piece) {
    if (!json) streams.out << piece << std::flush;
    return !interrupted;
  };
  const eval::ChatAnswer answer = session.answer(message, show);
  if (json) streams.out << to_json(answer, report).dump();
  streams.out << std::endl;
  report.cost += answer.generation.cost;
}

}  // namespace

void run_chat(eval::ChatSession& session, const ChatStreams& streams, bool json, bool interactive,
              GenerationReport& report) {
  if (interactive) streams.notes << "/reset begins anew, /exit ends" << std::endl;
  while (true) {
    if (interactive) streams.notes << "> " << std::flush;
    std::string message;
    if (!std::getline(streams.in, message) || message == "/exit") return;
    if (message.empty()) continue;
    if (message == "/reset") {
      session.reset();
      continue;
    }
    try {
      std::optional<InterruptScope> scope;
      if (interactive) scope.emplace();
      answer(session, message, streams, json, report);
    } catch (const Error& error) {
      // A conversation that is too long, say: the message is dropped and the chat goes on.
      if (!interactive) throw;
      streams.notes << error.what() << std::endl;
    }
  }
}

}  // namespace nibble::apps
