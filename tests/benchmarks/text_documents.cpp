#include "benchmarks/text_documents.h"

#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>

#include <nlohmann/json.hpp>

#include <string_view>

namespace nibble::benchmarks {
namespace {

/// Takes the part of `rest` up to and with the first line feed at or behind `from`.
std::string_view take_line(std::string_view& rest, size_t from) {
  const size_t end = rest.find('\n', from);
  const std::string_view line =
      rest.substr(0, end == std::string_view::npos ? rest.size() : end + 1);
  rest.remove_prefix(line.size());
  return line;
}

void append_strings(const nlohmann::ordered_json& value, std::string& text) {
  if (value.is_string()) {
    text.append(text.empty() ? "" : "\n").append(value.get_ref<const std::string&>());
  } else if (value.is_structured()) {
    for (const nlohmann::ordered_json& member : value) append_strings(member, text);
  }
}

}  // namespace

std::vector<std::string> read_documents(const std::filesystem::path& path, size_t document_bytes) {
  const std::string content = io::read_text_file(path);
  const bool is_jsonl = path.extension() == ".jsonl";
  std::vector<std::string> documents;
  for (std::string_view rest = content; !rest.empty();) {
    const std::string_view part = take_line(rest, is_jsonl ? 0 : document_bytes - 1);
    std::string document(part);
    if (is_jsonl) {
      document.clear();
      append_strings(io::parse_ordered_json(part, path.string()), document);
    }
    if (!document.empty()) documents.push_back(std::move(document));
  }
  NIBBLE_CHECK(!documents.empty(), path.string(), ": no text");
  return documents;
}

}  // namespace nibble::benchmarks
