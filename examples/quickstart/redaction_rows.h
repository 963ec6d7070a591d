#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quickstart {

/// What the model is asked to do with each message.
inline constexpr std::string_view kInstruction = "Redact the personal data.";

/// A message with personal data and the same message with placeholders in their place.
struct RedactionRow {
  std::string instruction;
  std::string input;
  std::string output;
};

enum class Part {
  kTraining,
  kHeldOut,  ///< other openings, fragments, names and numbers than kTraining
};

/// `count` rows that depend on `seed` only. A message is an opening and three to five fragments
/// drawn without repetition, so a model has to find the data in sentences it has not seen: with
/// whole sentences as templates it learns them by heart within twenty steps.
std::vector<RedactionRow> make_redaction_rows(Part part, int64_t count, uint64_t seed);

/// One JSON object a line: instruction, input, output.
std::string to_jsonl(const std::vector<RedactionRow>& rows);

}  // namespace quickstart
