#pragma once

#include <nibble/eval/chat_session.h>

#include <iosfwd>

#include "generation_report.h"

namespace nibble::apps {

struct ChatStreams {
  std::istream& in;
  std::ostream& out;    ///< the answers
  std::ostream& notes;  ///< everything else
};

/// Reads a message a line and answers it, until /exit or the end of the input; /reset begins anew.
/// `json`: one object an answer instead of text. `interactive` shows a prompt, and an interrupt
/// ends an answer, not the program. What was spent is added to `report`.
void run_chat(eval::ChatSession& session, const ChatStreams& streams, bool json, bool interactive,
              GenerationReport& report);

}  // namespace nibble::apps
