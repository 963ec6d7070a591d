#include <nibble/train/metrics.h>
#include <nibble/train/progress.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <unistd.h>

namespace nibble::train {
namespace {

constexpr int kBarWidth = 24;

std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(std::lround(std::max(0.0, seconds)));
  const auto two_digits = [](int64_t value) {
    return (value < 10 ? "0" : "") + std::to_string(value);
  };
  const std::string minutes = two_digits(total / 60 % 60) + ":" + two_digits(total % 60);
  return total < 3600 ? minutes : std::to_string(total / 3600) + ":" + minutes;
}

void write_line(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(std::string label, int64_t total, int64_t done)
    : label_(std::move(label)),
      total_(total),
      first_(done),
      done_(done),
      start_(unix_time()),
      on_terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (line_open_) write_line("\n");
}

void Progress::update(int64_t done, std::string_view detail) {
  done_ = done;
  if (on_terminal_) {
    draw(detail);
  } else {
    write_line(label_ + " " + std::to_string(done_) + "/" + std::to_string(total_) + " | " +
               std::string(detail) + "\n");
  }
}

void Progress::print(std::string_view line) {
  write_line((line_open_ ? "\r\033[K" : "") + std::string(line) + "\n");
  line_open_ = false;
}

void Progress::draw(std::string_view detail) {
  const double fraction =
      total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1.0;
  const auto filled = static_cast<int>(std::lround(fraction * kBarWidth));
  const double elapsed = unix_time() - start_;
  const double left = done_ > first_ ? elapsed / static_cast<double>(done_ - first_) *
                                           static_cast<double>(total_ - done_)
                                     : 0.0;
  write_line("\r\033[K" + label_ + " [" + std::string(static_cast<size_t>(filled), '#') +
             std::string(static_cast<size_t>(kBarWidth - filled), '.') + "] " +
             std::to_string(done_) + "/" + std::to_string(total_) + " " + duration(elapsed) + "<" +
             duration(left) + " " + std::string(detail));
  line_open_ = true;
}

}  // namespace nibble::train
