#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::train {

/// Shows how far a run is on standard error: one line that is redrawn on a terminal, with the time
/// left; plain lines elsewhere.
class Progress {
 public:
  /// `total` steps, of which `done` are done when the display starts.
  Progress(std::string label, int64_t total, int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` steps are done; `detail` is shown behind the bar or as a line of its own.
  void update(int64_t done, std::string_view detail);
  /// A line above the bar.
  void print(std::string_view line);

 private:
  void draw(std::string_view detail);

  std::string label_;
  int64_t total_;
  int64_t first_;
  int64_t done_;
  double start_;
  bool on_terminal_;
  bool line_open_ = false;
};

}  // namespace nibble::train
