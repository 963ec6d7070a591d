#include "yaml_text.h"

#include <nibble/core/error.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace nibble::train {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;

/// Bytes of the UTF-8 character that starts at `position`; 0 where none does.
size_t utf8_length(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) -> unsigned {
    return position + i < text.size() ? static_cast<unsigned char>(text[position + i]) : 0u;
  };
  const unsigned lead = byte(0);
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) {
      return 0;
    }
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool outside = (lead == 0xed && byte(1) >= 0xa0) || (lead == 0xf4 && byte(1) >= 0x90);
  return overlong || outside ? 0 : length;
}

void check_utf8(std::string_view text, const Locate& locate) {
  int line = 1;
  for (size_t position = 0; position < text.size();) {
    const size_t length = utf8_length(text, position);
    NIBBLE_CHECK(length > 0, locate(line), ": the text is not valid UTF-8; save the file as UTF-8");
    NIBBLE_CHECK(text[position] != '\0', locate(line),
                 ": the text holds a NUL byte; save the file as UTF-8");
    line += text[position] == '\n';
    position += length;
  }
}

/// True when a block scalar (`key: |`) starts on this line.
bool opens_block_scalar(std::string_view line) {
  line = line.substr(0, line.find(" #"));
  const size_t last = line.find_last_not_of(" \t");
  if (last == std::string_view::npos) {
    return false;
  }
  const size_t bar = line.find_last_not_of("+-0123456789", last);
  return bar != std::string_view::npos && (line[bar] == '|' || line[bar] == '>') && bar > 0 &&
         line[bar - 1] == ' ';
}

void check_tabs(std::string_view text, const Locate& locate) {
  std::optional<size_t> block_indent;  // of the line that opened a block scalar
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t content = line.find_first_not_of(" \t");
    if (content == std::string_view::npos) {
      continue;
    }
    const size_t spaces = line.find_first_not_of(' ');
    if (block_indent && spaces > *block_indent) {
      continue;
    }
    block_indent.reset();
    NIBBLE_CHECK(spaces == content, locate(number),
                 ": a tab in the indentation; YAML indents with spaces only");
    if (opens_block_scalar(line)) {
      block_indent = spaces;
    }
  }
}

}  // namespace

std::string clean_yaml_text(std::string_view text, const Locate& locate) {
  NIBBLE_CHECK(text.size() <= kMaxBytes, locate(1), ": ", text.size(),
               " bytes are too many for a recipe (at most ", kMaxBytes, ")");
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    fail(locate(1), ": the text is UTF-16; save the file as UTF-8");
  }
  if (text.starts_with("\xef\xbb\xbf")) {
    text.remove_prefix(3);
  }
  std::string result;
  result.reserve(text.size() + 1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      result += text[i];
    } else if (i + 1 == text.size() || text[i + 1] != '\n') {
      result += '\n';
    }
  }
  check_utf8(result, locate);
  check_tabs(result, locate);
  return result;
}

}  // namespace nibble::train
