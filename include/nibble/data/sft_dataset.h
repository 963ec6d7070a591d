#pragma once

#include <nibble/data/json_rows.h>
#include <nibble/data/row_encoder.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble::data {

/// How the rows of a dataset become training sequences.
struct SftOptions {
  RowFormat format = RowFormat::kColumns;
  ColumnMapping columns;  ///< of kColumns
  /// Renders with the chat template; false: plain text. kChat always takes the template, kHellaSwag
  /// never.
  bool use_chat_template = true;
  TargetRule targets;
  /// The most positions (ids of a Row) in a row; empty: no limit.
  std::optional<int64_t> seq_length = std::nullopt;
  /// Cuts longer rows at the end; false: they are invalid.
  bool truncation = false;
  /// Drops invalid rows (malformed, also as JSON, too long, without text or a target) with a count
  /// in the log; false: the first one is an Error.
  bool skip_invalid_samples = false;
};

struct SftDataset {
  std::vector<Row> rows;
  int64_t skipped_rows = 0;
  int64_t truncated_rows = 0;
  int64_t target_tokens = 0;
  /// Of the selected rows as their files have them, whatever is made of them: a Fingerprint.
  std::string source_fingerprint;
};

/// Reads, renders and tokenizes the selected rows. Throws Error, which starts with the row's file
/// and line, on the first invalid row (unless they are skipped) and when no usable row is left.
SftDataset load_sft_dataset(const RowSelection& selection, const SftOptions& options,
                            const TextFormat& format);

/// One row of it; the same errors.
Row encode_row(const JsonRow& row, const SftOptions& options, const TextFormat& format);

}  // namespace nibble::data
