#include "step_record.h"

#include <nibble/train/metrics.h>

#include <iomanip>
#include <sstream>

namespace nibble::train {

std::string describe(const StepRecord& record, bool qat) {
  std::ostringstream out;
  out << "step " << record.step << " | epoch " << record.epoch << std::fixed << " | loss "
      << std::setprecision(4) << record.loss << " | grad_norm " << record.grad_norm << " | lr "
      << std::scientific << std::setprecision(2) << record.lr << std::fixed;
  if (qat) {
    const bool both = record.activation_fake_quant == record.weight_fake_quant;
    out << " | fake_quant "
        << (both ? (record.weight_fake_quant ? "on" : "off")
                 : (record.weight_fake_quant ? "weights" : "activations"));
  }
  out << " | mem " << std::setprecision(2) << peak_memory_gib() << " GiB | tps "
      << static_cast<double>(record.num_tokens) / record.seconds << " | num_label_tokens "
      << record.num_label_tokens;
  return out.str();
}

nlohmann::ordered_json to_json(const StepRecord& record) {
  const double tps = static_cast<double>(record.num_tokens) / record.seconds;
  return {{"step", record.step},
          {"epoch", record.epoch},
          {"timestamp", unix_time()},
          {"loss", record.loss},
          {"grad_norm", record.grad_norm},
          {"lr", record.lr},
          {"fake_quant", record.activation_fake_quant || record.weight_fake_quant},
          {"activation_fake_quant", record.activation_fake_quant},
          {"weight_fake_quant", record.weight_fake_quant},
          {"mem", peak_memory_gib()},
          {"tps", tps},
          {"tps_per_gpu", tps},
          {"num_tokens_per_step", record.num_tokens},
          {"num_label_tokens", record.num_label_tokens}};
}

}  // namespace nibble::train
