#include <nibble/core/log.h>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace nibble::log {
namespace {

// The application may own spdlog's default logger; this one has its own name and is not registered.
spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto created = std::make_shared<spdlog::logger>(
        "nibble", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    created->set_pattern("[%H:%M:%S] %^%l%$ %v");
    created->flush_on(spdlog::level::debug);
    return created;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

// The message is data, never a format string.
void write(Level level, std::string_view message) { logger().log(to_spdlog(level), "{}", message); }

}  // namespace

void set_level(Level level) { logger().set_level(to_spdlog(level)); }
void debug(std::string_view message) { write(Level::kDebug, message); }
void info(std::string_view message) { write(Level::kInfo, message); }
void warning(std::string_view message) { write(Level::kWarning, message); }
void error(std::string_view message) { write(Level::kError, message); }

}  // namespace nibble::log
