#include "benchmarks/bench_support.h"

#include <nibble/core/error.h>
#include <nibble/io/json.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>

namespace nibble::benchmarks {

double median(std::vector<double> values) {
  NIBBLE_CHECK(!values.empty(), "a median needs at least one sample");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double wall_milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

std::vector<std::vector<double>> interleave(const std::vector<std::function<double()>>& contenders,
                                            int warmup, int rounds) {
  std::vector<std::vector<double>> samples(contenders.size());
  for (int round = -warmup; round < rounds; ++round) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      const double milliseconds = contenders[i]();
      if (round >= 0) samples[i].push_back(milliseconds);
    }
  }
  return samples;
}

double median_ratio(const std::vector<double>& times, const std::vector<double>& baseline) {
  NIBBLE_CHECK(times.size() == baseline.size(), "paired samples must be equally many, got ",
               times.size(), " and ", baseline.size());
  std::vector<double> ratios;
  for (size_t i = 0; i < times.size(); ++i) ratios.push_back(times[i] / baseline[i]);
  return median(std::move(ratios));
}

void add_ratio(Row& row, const Row& baseline, double ratio) {
  row.details["baseline"] = baseline.name;
  row.details["ratio"] = ratio;
}

void write_report(const std::filesystem::path& path, const std::string& program,
                  nlohmann::json header, const std::vector<Row>& rows) {
  header["program"] = program;
  header["rows"] = nlohmann::json::array();
  for (const Row& row : rows) {
    nlohmann::json fields = row.details;
    fields["name"] = row.name;
    fields["shape"] = row.shape;
    fields["group_size"] = row.group_size;
    fields["dtype"] = row.dtype;
    fields["median_ms"] = row.median_ms;
    fields["samples"] = row.samples;
    header["rows"].push_back(std::move(fields));
  }
  io::write_json_file(path, header);
}

std::vector<int64_t> parse_shape(const std::string& text) {
  std::vector<int64_t> shape;
  const char* position = text.data();
  const char* const end = position + text.size();
  while (true) {
    int64_t size = 0;
    const auto [rest, error] = std::from_chars(position, end, size);
    NIBBLE_CHECK(error == std::errc() && size > 0 && (rest == end || *rest == 'x'),
                 "a shape is positive numbers joined by 'x', such as 1024x2048; got '", text, "'");
    shape.push_back(size);
    if (rest == end) return shape;
    position = rest + 1;
  }
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

}  // namespace nibble::benchmarks
