#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

/// What the benchmark programs share: samples, medians, rows of a report. Knows no LibTorch.
namespace nibble::benchmarks {

/// The middle value; of an even count the mean of the two in the middle. Throws Error for none.
double median(std::vector<double> values);

/// Milliseconds that `work` takes by the wall clock.
double wall_milliseconds(const std::function<void()>& work);

/// Takes turns: one sample of each contender, then the next round, so that a drift of the machine
/// meets all alike. A contender returns the milliseconds of one sample; the first `warmup` rounds
/// are dropped. Result: samples[contender][round].
std::vector<std::vector<double>> interleave(const std::vector<std::function<double()>>& contenders,
                                            int warmup, int rounds);

/// Median over the rounds of time / baseline of the same round.
double median_ratio(const std::vector<double>& times, const std::vector<double>& baseline);

/// One result. Name, shape, group size and dtype together are its identity: tests/benchmarks/
/// compare.py matches the rows of two reports by them.
struct Row {
  std::string name;        ///< "weight 8da4w forward"
  std::string shape;       ///< "1024x2048"
  int64_t group_size = 0;  ///< 0: none
  std::string dtype;       ///< "bfloat16"; "float32->bfloat16" when the output has another
  double median_ms = 0;
  int samples = 0;
  nlohmann::json details = nlohmann::json::object();  ///< further fields of the row
};

/// Adds to `row` how it compares with `baseline`, which was measured in turns with it.
void add_ratio(Row& row, const Row& baseline, double ratio);

/// {"program": ..., fields of `header`, "rows": [...]}, written atomically.
void write_report(const std::filesystem::path& path, const std::string& program,
                  nlohmann::json header, const std::vector<Row>& rows);

/// "1024x2048" -> {1024, 2048}. Throws Error for anything but positive numbers joined by 'x'.
std::vector<int64_t> parse_shape(const std::string& text);

/// The processor's name, as the system tells it.
std::string cpu_name();

}  // namespace nibble::benchmarks
