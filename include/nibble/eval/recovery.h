#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace nibble::eval {

/// One model of the comparison.
struct ModelResult {
  double loss = 0;                    ///< nats a target, on the same rows for all three
  std::optional<double> exact_match;  ///< share of rows, 0 to 1
};

/// Bytes before and after quantization.
struct SizeChange {
  int64_t full_precision_bytes = 0;
  int64_t quantized_bytes = 0;

  double ratio() const {
    return static_cast<double>(full_precision_bytes) / static_cast<double>(quantized_bytes);
  }
};

/// What quantizing after training costs, and how much of that training with fake quantization wins
/// back.
struct RecoveryReport {
  ModelResult full_precision;
  ModelResult ptq;
  ModelResult qat;
  std::optional<SizeChange> layers;  ///< the quantized Linears
  std::optional<SizeChange> file;    ///< the whole checkpoint

  /// Loss that PTQ adds to full precision.
  double ptq_cost() const { return ptq.loss - full_precision.loss; }
  /// Loss that QAT adds to full precision.
  double qat_cost() const { return qat.loss - full_precision.loss; }
  /// The part of the PTQ cost that QAT avoids: 1 all of it, more than 1 better than full precision,
  /// negative worse than PTQ. Empty where PTQ costs nothing.
  std::optional<double> recovered() const;
};

/// {"full_precision": {"loss", "exact_match"}, "ptq", "qat", "ptq_cost", "qat_cost", "recovered",
/// "layers": {"full_precision_bytes", "quantized_bytes", "ratio"}, "file"}; null where unknown.
nlohmann::json to_json(const RecoveryReport& report);

/// A table of a few lines for a terminal.
std::string to_text(const RecoveryReport& report);

}  // namespace nibble::eval
