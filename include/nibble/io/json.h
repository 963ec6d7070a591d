#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace nibble::io {

/// Deepest nesting of arrays and objects that parse_json() accepts.
inline constexpr int kMaxJsonDepth = 64;

/// Parses JSON from outside. Throws Error "<origin>:<line>:<column>: ..." on a syntax error,
/// ill-formed UTF-8, nesting deeper than kMaxJsonDepth or a key that stands twice in one object
/// (JSON leaves its meaning open). `origin` names the text in messages.
nlohmann::json parse_json(std::string_view text, std::string_view origin);
/// The same with the keys of objects in the order of the text (chat templates print them so).
nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view origin);

/// One line of a JSONL file, likewise; `origin` is "file:line", and a syntax error
/// "<origin>:<column>: ...".
nlohmann::ordered_json parse_json_line(std::string_view line, std::string_view origin);

/// parse_json() of a whole file. Throws Error naming the path.
nlohmann::json read_json_file(const std::filesystem::path& path);

/// `value` as compact JSON text. Throws Error naming `origin` when a string is not UTF-8.
std::string dump_json(const nlohmann::json& value, std::string_view origin);

/// Writes `value` atomically, two spaces a level, with a final newline.
void write_json_file(const std::filesystem::path& path, const nlohmann::json& value);

}  // namespace nibble::io
