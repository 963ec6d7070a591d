#pragma once

#include <string_view>

/// Log lines to standard error. A facade: the logging library behind it appears in no header.
namespace nibble::log {

enum class Level { kDebug, kInfo, kWarning, kError, kOff };

/// Lines below `level` are dropped. The default is kInfo. Thread-safe.
void set_level(Level level);

void debug(std::string_view message);
void info(std::string_view message);
void warning(std::string_view message);
void error(std::string_view message);

}  // namespace nibble::log
