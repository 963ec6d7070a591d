#include <nibble/core/error.h>
#include <nibble/data/json_rows.h>
#include <nibble/data/random.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <regex>
#include <string_view>
#include <utility>

namespace nibble::data {
namespace {

namespace fs = std::filesystem;

bool is_row_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".jsonl" || extension == ".json" || extension == ".ndjson";
}

std::vector<JsonRow> read_json_document(const fs::path& file) {
  nlohmann::ordered_json document = io::parse_ordered_json(io::read_text_file(file), file.string());
  if (document.is_object()) document = nlohmann::ordered_json::array({std::move(document)});
  NIBBLE_CHECK(document.is_array(), file.string(), ": a dataset is an array of objects, found ",
               document.type_name());
  std::vector<JsonRow> rows;
  for (size_t i = 0; i < document.size(); ++i) {
    rows.push_back({std::move(document[i]), detail::concat(file.string(), "[", i, "]")});
  }
  return rows;
}

/// A mistake of a whole file that each of its lines would be blamed for.
void check_not_one_array(std::string_view text, const fs::path& file) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_array = first != std::string_view::npos && text[first] == '[' &&
                        text[text.find_last_not_of(" \t\r\n")] == ']';
  NIBBLE_CHECK(!is_array, file.string(), ":1: a row is a JSON object, found an array; a file that ",
               "holds one array of rows is named .json");
}

JsonRow read_json_line(std::string_view line, std::string origin) {
  try {
    nlohmann::ordered_json value = io::parse_json_line(line, origin);
    return {std::move(value), std::move(origin)};
  } catch (const Error& error) {
    return {nullptr, std::move(origin), error.what()};
  }
}

std::vector<JsonRow> read_json_lines(const fs::path& file) {
  const std::string text = io::read_text_file(file);
  std::vector<JsonRow> rows;
  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
  check_not_one_array(rest, file);
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    rows.push_back(read_json_line(line, detail::concat(file.string(), ":", number)));
  }
  return rows;
}

std::string join_names(const std::vector<fs::path>& paths) {
  std::string names;
  for (const fs::path& path : paths) {
    names += (names.empty() ? "" : ", ") + path.filename().string();
  }
  return names.empty() ? "none" : names;
}

/// The file of `folder` that holds `split`.
fs::path find_split(const fs::path& folder, const std::string& split) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && is_row_file(entry.path())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  const auto matching = [&](auto&& matches) {
    std::vector<fs::path> found;
    std::copy_if(files.begin(), files.end(), std::back_inserter(found),
                 [&](const fs::path& path) { return matches(path.stem().string()); });
    return found;
  };
  std::vector<fs::path> found = matching([&](const std::string& stem) { return stem == split; });
  if (found.empty()) {
    found = matching([&](const std::string& stem) {
      return stem.ends_with("_" + split) || stem.ends_with("-" + split);
    });
  }
  NIBBLE_CHECK(found.size() == 1, folder.string(), ": ", found.empty() ? "no" : "more than one",
               " file for the split \"", split, "\" (", split, ".jsonl or NAME_", split,
               ".jsonl); dataset files there: ", join_names(files));
  return found.front();
}

struct Split {
  std::string name;
  std::string begin, end;  ///< bounds as written, may be empty
};

Split parse_split(const std::string& text) {
  static const std::regex pattern(R"(([\w.\-]+)(?:\[(-?\d{1,12}%?)?:(-?\d{1,12}%?)?\])?)");
  std::smatch match;
  NIBBLE_CHECK(std::regex_match(text, match, pattern), "split \"", text,
               "\" cannot be read; examples: train, train[:64], train[100:200], train[:5%]");
  return {match[1], match[2], match[3]};
}

/// A bound in rows, in [0, size].
int64_t resolve_bound(const std::string& bound, int64_t size, int64_t if_empty) {
  if (bound.empty()) return if_empty;
  const int64_t number = std::stoll(bound);
  int64_t rows = number;
  if (bound.back() == '%') {
    const double percent = static_cast<double>(std::clamp<int64_t>(number, -100, 100));
    rows = std::llround(percent * static_cast<double>(size) / 100.0);
  }
  return std::clamp<int64_t>(number < 0 ? rows + size : rows, 0, size);
}

void shuffle_rows(std::vector<JsonRow>& rows, uint64_t seed) {
  std::vector<JsonRow> shuffled;
  shuffled.reserve(rows.size());
  for (const size_t index : permutation(rows.size(), seed)) {
    shuffled.push_back(std::move(rows[index]));
  }
  rows = std::move(shuffled);
}

}  // namespace

std::vector<JsonRow> read_json_rows(const fs::path& file, MalformedRows malformed) {
  std::vector<JsonRow> rows =
      file.extension() == ".json" ? read_json_document(file) : read_json_lines(file);
  for (JsonRow& row : rows) {
    if (row.problem.empty() && !row.value.is_object()) {
      row.problem =
          detail::concat(row.origin, ": a row is a JSON object, found ", row.value.type_name());
    }
    if (malformed == MalformedRows::kRefused && !row.problem.empty()) fail(row.problem);
  }
  return rows;
}

std::vector<JsonRow> select_json_rows(const RowSelection& selection, MalformedRows malformed) {
  NIBBLE_CHECK(!selection.paths.empty(), "a dataset needs at least one file");
  const Split split = parse_split(selection.split);
  std::vector<JsonRow> rows;
  for (const fs::path& path : selection.paths) {
    NIBBLE_CHECK(fs::exists(path), "dataset \"", path.string(),
                 "\" is not a file or folder here; datasets are local JSON or JSONL files");
    std::vector<JsonRow> more =
        read_json_rows(fs::is_directory(path) ? find_split(path, split.name) : path, malformed);
    std::move(more.begin(), more.end(), std::back_inserter(rows));
  }
  NIBBLE_CHECK(!rows.empty(), "dataset \"", selection.paths.front().string(), "\" is empty");
  if (selection.shuffle_seed) shuffle_rows(rows, *selection.shuffle_seed);

  const int64_t size = static_cast<int64_t>(rows.size());
  const int64_t begin = resolve_bound(split.begin, size, 0);
  int64_t end = resolve_bound(split.end, size, size);
  if (selection.limit) {
    NIBBLE_CHECK(*selection.limit > 0, "the limit of dataset samples is ", *selection.limit,
                 "; allowed: 1 and more");
    end = std::min(end, begin + *selection.limit);
  }
  NIBBLE_CHECK(begin < end, "split \"", selection.split, "\" selects none of the ", size,
               " rows of dataset \"", selection.paths.front().string(), "\"");
  rows.erase(rows.begin() + end, rows.end());
  rows.erase(rows.begin(), rows.begin() + begin);
  return rows;
}

}  // namespace nibble::data
