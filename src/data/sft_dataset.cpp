#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/data/sft_dataset.h>

#include <string>
#include <utility>

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

Row encode_text(const JsonRow& row, const SftOptions& options, const TextFormat& format) {
  if (options.format == RowFormat::kChat) {
    return encode_conversation(format, read_conversation(row), options.targets);
  }
  const PromptAndAnswer sample = read_sample(row, options);
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

/// `row` encoded, cut and checked; counts the cut.
Row encode_checked(const JsonRow& row, const SftOptions& options, const TextFormat& format,
                   int64_t& truncated_rows) {
  Row encoded = [&] {
    try {
      return encode_text(row, options, format);
    } catch (const Error& error) {
      const std::string_view message = error.what();
      if (message.starts_with(row.origin)) throw;
      fail(row.origin, ": ", message);
    }
  }();
  const int64_t uncut_length = position_count(encoded);
  const bool cut = options.truncation && exceeds(encoded, options);
  if (cut) {
    encoded.ids.resize(static_cast<size_t>(*options.seq_length));
    encoded.labels.resize(encoded.ids.size());
  }
  try {
    check_row(encoded, options, uncut_length);
  } catch (const Error& error) {
    fail(row.origin, ": ", error.what());
  }
  truncated_rows += cut ? 1 : 0;
  return encoded;
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
  int64_t truncated_rows = 0;
  return encode_checked(row, options, format, truncated_rows);
}

SftDataset load_sft_dataset(const RowSelection& selection, const SftOptions& options,
                            const TextFormat& format) {
  check_options(options, format);
  SftDataset dataset;
  std::string first_problem;
  for (const JsonRow& row : select_json_rows(selection)) {
    try {
      dataset.rows.push_back(encode_checked(row, options, format, dataset.truncated_rows));
      dataset.target_tokens += dataset.rows.back().target_count();
    } catch (const Error& error) {
      if (!options.skip_invalid_samples) throw;
      if (dataset.skipped_rows++ == 0) first_problem = error.what();
    }
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
