#pragma once

#include <nibble/eval/memory.h>
#include <nibble/models/generation.h>
#include <nibble/train/metrics.h>

#include <nlohmann/json.hpp>

#include <iomanip>
#include <ostream>

namespace nibble::apps {

inline const char* name_of(models::FinishReason reason) {
  switch (reason) {
    case models::FinishReason::kStopToken:
      return "stop";
    case models::FinishReason::kTokenLimit:
      return "length";
    case models::FinishReason::kContextLimit:
      return "context";
    case models::FinishReason::kCallback:
      return "cancelled";
  }
  return "unknown";
}

/// Time and memory of generations with one model.
struct GenerationReport {
  models::GenerationCost cost = {};
  int64_t model_bytes = 0;

  static int64_t peak_rss_bytes() {
    return static_cast<int64_t>(train::peak_memory_gib() * 1024.0 * 1024.0 * 1024.0);
  }

  /// Adds the fields to `json`.
  void write(nlohmann::ordered_json& json) const {
    json["seconds"] = cost.prefill_seconds + cost.decode_seconds;
    json["prefill_tokens"] = cost.prefill_tokens;
    json["prefill_seconds"] = cost.prefill_seconds;
    json["prefill_tokens_per_second"] = cost.prefill_tokens_per_second();
    json["decode_tokens"] = cost.decode_tokens;
    json["decode_seconds"] = cost.decode_seconds;
    json["graph_seconds"] = cost.graph_seconds;
    json["decode_path"] = to_string(cost.decode_path);
    const auto rate = cost.decode_tokens_per_second();
    json["decode_tokens_per_second"] =
        rate ? nlohmann::ordered_json(*rate) : nlohmann::ordered_json();
    json["memory"] = {{"model_bytes", model_bytes},
                      {"kv_cache_bytes", cost.kv_cache_bytes},
                      {"peak_rss_bytes", peak_rss_bytes()}};
  }

  /// Two lines for a terminal.
  void print(std::ostream& out) const {
    const auto megabytes = [](int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
    out << std::fixed << std::setprecision(1) << "prefill " << cost.prefill_tokens << " tokens, "
        << cost.prefill_tokens_per_second() << " tokens/s; decode " << cost.decode_tokens
        << " tokens";
    if (const auto rate = cost.decode_tokens_per_second()) out << ", " << *rate << " tokens/s";
    if (cost.decode_tokens > 0) out << " (" << to_string(cost.decode_path) << ")";
    out << "\nmemory: model " << megabytes(model_bytes) << " MB, KV cache "
        << megabytes(cost.kv_cache_bytes) << " MB, process at most " << megabytes(peak_rss_bytes())
        << " MB" << std::endl;
  }
};

}  // namespace nibble::apps
