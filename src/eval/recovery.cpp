#include <nibble/eval/recovery.h>

#include <nlohmann/json.hpp>

#include <iomanip>
#include <sstream>

namespace nibble::eval {
namespace {

nlohmann::json to_json(const ModelResult& result) {
  nlohmann::json json = {{"loss", result.loss}, {"exact_match", nullptr}};
  if (result.exact_match) json["exact_match"] = *result.exact_match;
  return json;
}

nlohmann::json to_json(const std::optional<SizeChange>& size) {
  if (!size) return nullptr;
  return {{"full_precision_bytes", size->full_precision_bytes},
          {"quantized_bytes", size->quantized_bytes},
          {"ratio", size->ratio()}};
}

void print_result(std::ostream& out, const char* name, const ModelResult& result) {
  out << std::left << std::setw(18) << name << std::right << std::fixed << std::setprecision(4)
      << std::setw(8) << result.loss;
  if (result.exact_match) {
    out << std::setprecision(1) << std::setw(12) << 100 * *result.exact_match << " %";
  }
  out << "\n";
}

void print_size(std::ostream& out, const char* name, const std::optional<SizeChange>& size) {
  if (!size) return;
  constexpr double kMegabyte = 1e6;
  const auto megabytes = [](int64_t bytes) { return static_cast<double>(bytes) / kMegabyte; };
  out << std::left << std::setw(18) << name << std::right << std::fixed << std::setprecision(1)
      << megabytes(size->full_precision_bytes) << " MB -> " << megabytes(size->quantized_bytes)
      << " MB (" << size->ratio() << "x smaller)\n";
}

}  // namespace

std::optional<double> RecoveryReport::recovered() const {
  if (!(ptq_cost() > 0)) return std::nullopt;
  return (ptq.loss - qat.loss) / ptq_cost();
}

nlohmann::json to_json(const RecoveryReport& report) {
  const std::optional<double> recovered = report.recovered();
  return {{"full_precision", to_json(report.full_precision)},
          {"ptq", to_json(report.ptq)},
          {"qat", to_json(report.qat)},
          {"ptq_cost", report.ptq_cost()},
          {"qat_cost", report.qat_cost()},
          {"recovered", recovered ? nlohmann::json(*recovered) : nlohmann::json()},
          {"layers", to_json(report.layers)},
          {"file", to_json(report.file)}};
}

std::string to_text(const RecoveryReport& report) {
  std::ostringstream out;
  out << std::left << std::setw(18) << "model" << std::right << std::setw(8) << "loss"
      << (report.full_precision.exact_match ? "   exact match" : "") << "\n";
  print_result(out, "full precision", report.full_precision);
  print_result(out, "PTQ", report.ptq);
  print_result(out, "QAT", report.qat);
  out << std::fixed << std::setprecision(4) << "PTQ costs " << report.ptq_cost() << ", QAT "
      << report.qat_cost();
  if (const std::optional<double> recovered = report.recovered()) {
    out << std::setprecision(1) << ": " << 100 * *recovered << " % recovered";
  }
  out << "\n";
  print_size(out, "quantized layers", report.layers);
  print_size(out, "whole file", report.file);
  return out.str();
}

}  // namespace nibble::eval
