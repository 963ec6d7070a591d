#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/core/parallel.h>
#include <nibble/data/fingerprint.h>
#include <nibble/data/sft_dataset.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nibble::data {
namespace {

PromptAndAnswer read_sample(const JsonRow& row, const SftOptions& options) {
  switch (options.format) {
    case RowFormat::kColumns:
      return read_columns(row, options.columns);
    case RowFormat::kSquad:
      return read_squad(row);
    case RowFormat::kHellaSwag:
      return read_hellaswag(row);
    case RowFormat::kChat:
      break;
  }
  fail("a chat row is no prompt and answer");
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\n\r\f\v") == std::string_view::npos;
}

/// True for an assistant's message that says something beside its content.
bool has_other_parts(const nlohmann::ordered_json& message) {
  for (const char* name : {"tool_calls", "reasoning_content"}) {
    const auto part = message.find(name);
    if (part != message.end() && !part->empty() && *part != "") return true;
  }
  return false;
}

/// A message of user or assistant without text teaches nothing: such rows are mistakes.
void check_messages(const Conversation& conversation) {
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const nlohmann::ordered_json& message = conversation.messages[i];
    const auto& role = message.at("role").get_ref<const std::string&>();
    const bool needs_text = role == "user" || (role == "assistant" && !has_other_parts(message));
    NIBBLE_CHECK(!needs_text || !is_blank(message.at("content").get_ref<const std::string&>()),
                 "message ", i, " (", role, ") has no text");
  }
}

Row encode_text(const JsonRow& row, const SftOptions& options, const TextFormat& format) {
  if (options.format == RowFormat::kChat) {
    const Conversation conversation = read_conversation(row);
    check_messages(conversation);
    return encode_conversation(format, conversation, options.targets);
  }
  const PromptAndAnswer sample = read_sample(row, options);
  NIBBLE_CHECK(!is_blank(sample.answer), "the answer has no text");
  if (options.format == RowFormat::kHellaSwag) return encode_continuation(format, sample);
  if (options.use_chat_template) {
    return encode_conversation(format, to_conversation(sample), options.targets);
  }
  return encode_plain(format, sample, options.targets);
}

int64_t position_count(const Row& row) { return static_cast<int64_t>(row.ids.size()); }

bool exceeds(const Row& row, const SftOptions& options) {
  return options.seq_length && position_count(row) > *options.seq_length;
}

void check_row(const Row& row, const SftOptions& options, int64_t uncut_length) {
  NIBBLE_CHECK(!exceeds(row, options), "the row has ", position_count(row),
               " tokens, seq_length is ", *options.seq_length,
               "; raise it, or set truncation: true or skip_invalid_samples: true");
  NIBBLE_CHECK(row.target_count() > 0, "the row has no target token",
               uncut_length > position_count(row)
                   ? detail::concat(" left after cutting ", uncut_length, " tokens to seq_length ",
                                    *options.seq_length)
                   : std::string());
}

struct CheckedRow {
  Row row;
  bool is_cut = false;
};

/// `row` encoded, cut and checked.
CheckedRow encode_checked(const JsonRow& row, const SftOptions& options, const TextFormat& format) {
  try {
    if (!row.problem.empty()) fail(row.problem);
    CheckedRow result{encode_text(row, options, format)};
    const int64_t uncut_length = position_count(result.row);
    result.is_cut = options.truncation && exceeds(result.row, options);
    if (result.is_cut) {
      result.row.ids.resize(static_cast<size_t>(*options.seq_length));
      result.row.labels.resize(result.row.ids.size());
    }
    check_row(result.row, options, uncut_length);
    return result;
  } catch (const Error& error) {
    const std::string_view message = error.what();
    if (message.starts_with(row.origin)) throw;
    fail(row.origin, ": ", message);
  }
}

/// A row, or why it is invalid.
using Outcome = std::variant<std::string, CheckedRow>;

/// Rows do not depend on each other: each thread takes the next one.
std::vector<Outcome> encode_all(const std::vector<JsonRow>& rows, const SftOptions& options,
                                const TextFormat& format) {
  std::vector<Outcome> outcomes(rows.size());
  parallel_for(rows.size(), /*threads=*/0, [&](size_t i) {
    try {
      outcomes[i] = encode_checked(rows[i], options, format);
    } catch (const Error& error) {
      if (!options.skip_invalid_samples) throw;
      outcomes[i] = std::string(error.what());
    }
  });
  return outcomes;
}

std::string fingerprint_of(const std::vector<JsonRow>& rows) {
  Fingerprint print;
  for (const JsonRow& row : rows) print.add(row.value.dump());
  return print.to_string();
}

void check_options(const SftOptions& options, const TextFormat& format) {
  NIBBLE_CHECK(!options.seq_length || *options.seq_length > 0, "seq_length is ",
               options.seq_length.value_or(0), "; allowed: 1 and more");
  NIBBLE_CHECK(options.format != RowFormat::kColumns || !options.columns.answer.empty(),
               "the column mapping names no answer column");
  const bool renders = options.format == RowFormat::kChat ||
                       (options.use_chat_template && options.format != RowFormat::kHellaSwag);
  NIBBLE_CHECK(!renders || format.chat_template,
               "the model has no chat template; give one (dataset.chat_template)",
               options.format == RowFormat::kChat
                   ? ""
                   : ", or use plain text (dataset.use_hf_chat_template: false)");
}

}  // namespace

Row encode_row(const JsonRow& row, const SftOptions& options, const TextFormat& format) {
  return encode_checked(row, options, format).row;
}

SftDataset load_sft_dataset(const RowSelection& selection, const SftOptions& options,
                            const TextFormat& format) {
  check_options(options, format);
  const std::vector<JsonRow> rows = select_json_rows(
      selection, options.skip_invalid_samples ? MalformedRows::kKept : MalformedRows::kRefused);
  SftDataset dataset;
  dataset.source_fingerprint = fingerprint_of(rows);
  std::string first_problem;
  for (Outcome& outcome : encode_all(rows, options, format)) {
    if (const auto* problem = std::get_if<std::string>(&outcome)) {
      if (dataset.skipped_rows++ == 0) first_problem = *problem;
      continue;
    }
    auto& [row, is_cut] = std::get<CheckedRow>(outcome);
    dataset.target_tokens += row.target_count();
    dataset.truncated_rows += is_cut ? 1 : 0;
    dataset.rows.push_back(std::move(row));
  }
  NIBBLE_CHECK(!dataset.rows.empty(), "none of the ", dataset.skipped_rows,
               " rows can be used; the first problem: ", first_problem);
  if (dataset.skipped_rows > 0) {
    log::warning(detail::concat("skipped ", dataset.skipped_rows, " of ",
                                dataset.rows.size() + static_cast<size_t>(dataset.skipped_rows),
                                " rows; the first: ", first_problem));
  }
  if (dataset.truncated_rows > 0) {
    log::warning(detail::concat("cut ", dataset.truncated_rows, " of ", dataset.rows.size(),
                                " rows to ", *options.seq_length, " tokens"));
  }
  return dataset;
}

}  // namespace nibble::data
