#pragma once

#include <string>
#include <vector>

/// Times of the CUDA kernels against the rate of a copy in the same run.
namespace nibble::tests {

struct BenchRow {
  std::string name;
  std::string shape;
  std::string dtype;
  double milliseconds;    ///< median
  double bytes;           ///< all read + all written
  double copy_rate;       ///< bytes a second of cudaMemcpy device to device, the same run
  double target_percent;  ///< of the copy rate

  double percent() const { return 100.0 * bytes / (milliseconds * 1e-3) / copy_rate; }
};

/// Runs all benchmarks on the current device.
std::vector<BenchRow> run_benchmarks();

void print_table(const std::vector<BenchRow>& rows);
/// Writes {"device": ..., "rows": [...]}.
void write_json(const std::string& path, const std::vector<BenchRow>& rows);

}  // namespace nibble::tests
