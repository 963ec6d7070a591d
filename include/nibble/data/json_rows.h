#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace nibble::data {

/// One object of a JSON or JSONL file.
struct JsonRow {
  nlohmann::ordered_json value;
  std::string origin;        ///< "rows.jsonl:12" (line) or "rows.json[11]" (index), for messages
  std::string problem = {};  ///< why `value` is no row: text for an Error; empty for a row
};

/// What becomes of lines that are no JSON and of values that are no object.
enum class MalformedRows {
  kRefused,  ///< the first one is an Error
  kKept,     ///< rows with a `problem`
};

/// Which rows of which files.
struct RowSelection {
  /// Files, read in this order, or folders that hold one file for the split: `<split>.jsonl`,
  /// `.json` or `.ndjson`, else the only one whose stem ends in `_<split>` or `-<split>`.
  std::vector<std::filesystem::path> paths;
  /// `NAME`, `NAME[:64]`, `NAME[100:]`, `NAME[10:20]`, `NAME[:5%]`, negative bounds counted from
  /// the end, as Hugging Face `datasets` writes it. NAME chooses a folder's file; of files only the
  /// range matters.
  std::string split = "train";
  /// Shuffles all rows before the range and limit apply.
  std::optional<uint64_t> shuffle_seed = std::nullopt;
  /// At most this many rows of the range.
  std::optional<int64_t> limit = std::nullopt;
};

/// All rows of one file. `.json` holds an array of objects or one object; anything else one object
/// a line (empty lines are skipped). Throws Error "file:line:column: ..." on malformed JSON and
/// "file:line: ..." for a row that is not an object. With `malformed` kKept those are rows with a
/// problem; a `.json` file that is no JSON is an Error all the same.
std::vector<JsonRow> read_json_rows(const std::filesystem::path& file,
                                    MalformedRows malformed = MalformedRows::kRefused);

/// The selected rows. Throws Error when a path is neither a file nor a folder with the split, the
/// split cannot be read, or no row is selected.
std::vector<JsonRow> select_json_rows(const RowSelection& selection,
                                      MalformedRows malformed = MalformedRows::kRefused);

}  // namespace nibble::data
