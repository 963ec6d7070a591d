#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/io/json.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

namespace nibble::io {
namespace {

using nlohmann::json;

/// What nlohmann's DOM parser does not check: depth and duplicate keys.
template <class Json>
class StructureCheck {
 public:
  explicit StructureCheck(std::string_view origin) : origin_(origin) {}

  bool operator()(int depth, typename Json::parse_event_t event, Json& parsed) {
    using Event = typename Json::parse_event_t;
    switch (event) {
      case Event::object_start:
        keys_.emplace_back();
        [[fallthrough]];
      case Event::array_start:
        NIBBLE_CHECK(depth < kMaxJsonDepth, origin_, ": JSON nested deeper than ", kMaxJsonDepth);
        break;
      case Event::object_end:
        keys_.pop_back();
        break;
      case Event::key: {
        const std::string& key = parsed.template get_ref<const std::string&>();
        NIBBLE_CHECK(keys_.back().insert(key).second, origin_, ": the key \"", key,
                     "\" stands twice in one object");
        break;
      }
      default:
        break;
    }
    return true;
  }

 private:
  std::string_view origin_;
  std::vector<std::unordered_set<std::string>> keys_;
};

/// What a position in a text is told by.
enum class Position { kLineAndColumn, kColumn };

[[noreturn]] void fail_at(std::string_view text, std::string_view origin, Position position,
                          const json::parse_error& error) {
  // error.byte counts from 1 and is one past the end for unexpected ends of input.
  const std::string_view before = text.substr(0, error.byte == 0 ? 0 : error.byte - 1);
  const size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  const size_t newline = before.rfind('\n');
  const size_t column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
  // "[json.exception.parse_error.101] parse error at line 1, column 2: <reason>"
  std::string reason = error.what();
  if (const size_t colon = reason.find(": "); colon != std::string::npos) {
    reason.erase(0, colon + 2);
  }
  constexpr size_t kLongestReason = 200;  // it quotes the token, which may be the whole file
  if (reason.size() > kLongestReason) reason.replace(kLongestReason, std::string::npos, "...");
  const std::string line_part =
      position == Position::kLineAndColumn ? detail::concat(":", line) : std::string();
  fail(origin, line_part, ":", column, ": not valid JSON: ", reason);
}

template <class Json>
Json parse(std::string_view text, std::string_view origin,
           Position position = Position::kLineAndColumn) {
  // The callback is copied by value into std::function; the check's state is shared by reference.
  StructureCheck<Json> check(origin);
  try {
    return Json::parse(text, std::ref(check));
  } catch (const json::parse_error& error) {
    fail_at(text, origin, position, error);
  } catch (const json::exception& error) {
    fail(origin, ": not valid JSON: ", error.what());
  }
}

std::string dump(const json& value, std::string_view origin, int indent) {
  try {
    return value.dump(indent);
  } catch (const json::exception& error) {
    fail(origin, ": cannot be written as JSON: ", error.what());
  }
}

}  // namespace

json parse_json(std::string_view text, std::string_view origin) {
  return parse<json>(text, origin);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view origin) {
  return parse<nlohmann::ordered_json>(text, origin);
}

nlohmann::ordered_json parse_json_line(std::string_view line, std::string_view origin) {
  return parse<nlohmann::ordered_json>(line, origin, Position::kColumn);
}

json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

std::string dump_json(const json& value, std::string_view origin) {
  return dump(value, origin, /*indent=*/-1);
}

void write_json_file(const std::filesystem::path& path, const json& value) {
  write_file_atomically(path, dump(value, path.string(), /*indent=*/2) + "\n");
}

}  // namespace nibble::io
