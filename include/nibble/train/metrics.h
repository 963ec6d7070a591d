#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>

namespace nibble::train {

/// A JSON Lines file, one record a line. What append() returned from survives a kill of the
/// process.
class MetricsLog {
 public:
  /// Opens for appending. Records with a "step" of `first_step` or more, left by a run that was
  /// killed after its last checkpoint, are dropped first, and so is a line that was cut off.
  MetricsLog(const std::filesystem::path& path, int64_t first_step);

  /// Throws Error when the line cannot be written.
  void append(const nlohmann::ordered_json& record);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

/// Seconds since 1970.
double unix_time();
/// The most memory that this process has held, in GiB.
double peak_memory_gib();

}  // namespace nibble::train
