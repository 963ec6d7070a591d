#include <nibble/core/error.h>
#include <nibble/io/file.h>
#include <nibble/train/metrics.h>

#include <nlohmann/json.hpp>

#include <chrono>
#include <sstream>
#include <string>
#include <sys/resource.h>

namespace nibble::train {
namespace {

namespace fs = std::filesystem;

/// The lines of `text` whose step is before `first_step`.
std::string lines_before(const std::string& text, int64_t first_step) {
  std::istringstream lines(text);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto step = record.is_object() ? record.find("step") : record.end();
    const bool before = step != record.end() && step->is_number() && *step < first_step;
    if (before) kept += line + "\n";
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(const fs::path& path, int64_t first_step) : path_(path) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  NIBBLE_CHECK(!error, "cannot create the folder ", path.parent_path().string(), ": ",
               error.message());
  if (fs::exists(path)) {
    io::write_file_atomically(path, lines_before(io::read_text_file(path), first_step));
  }
  out_.open(path, std::ios::app);
  NIBBLE_CHECK(out_.good(), "cannot open ", path.string(), " for writing");
}

void MetricsLog::append(const nlohmann::ordered_json& record) {
  out_ << record.dump() << '\n' << std::flush;
  NIBBLE_CHECK(out_.good(), "cannot write to ", path_.string(), " (disk full?)");
}

double unix_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

double peak_memory_gib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1024.0 * 1024.0);  // ru_maxrss is in KiB
}

}  // namespace nibble::train
