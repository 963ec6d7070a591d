#include <nibble/quantization/report.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <tuple>

namespace nibble {
namespace {

int64_t weights_of(const LayerReport& layer) { return layer.in_features * layer.out_features; }

}  // namespace

int64_t QuantizationReport::swapped() const {
  return std::count_if(layers.begin(), layers.end(),
                       [](const auto& layer) { return layer.swapped; });
}

int64_t QuantizationReport::skipped() const {
  return static_cast<int64_t>(layers.size()) - swapped();
}

double QuantizationReport::swapped_weight_fraction() const {
  int64_t all = 0;
  int64_t done = 0;
  for (const LayerReport& layer : layers) {
    all += weights_of(layer);
    if (layer.swapped) done += weights_of(layer);
  }
  return all == 0 ? 0.0 : static_cast<double>(done) / static_cast<double>(all);
}

std::string QuantizationReport::to_string() const {
  struct Summary {
    int64_t count = 0;
    std::string example;
  };
  std::map<std::tuple<bool, int64_t, int64_t, std::string>, Summary> kinds;
  for (const LayerReport& layer : layers) {
    Summary& kind = kinds[{!layer.swapped, layer.out_features, layer.in_features, layer.reason}];
    if (kind.count++ == 0) kind.example = layer.path;
  }
  std::ostringstream out;
  out << "quantized " << swapped() << " of " << layers.size() << " Linears";
  for (const auto& [key, kind] : kinds) {
    const auto& [is_skipped, rows, cols, reason] = key;
    out << "\n  " << kind.count << " x [" << rows << ", " << cols << "] "
        << (is_skipped ? "skipped: " : "") << reason << " (" << kind.example
        << (kind.count > 1 ? ", ...)" : ")");
  }
  return out.str();
}

}  // namespace nibble
