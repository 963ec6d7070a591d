#pragma once

#include <nibble/eval/recovery.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace quickstart {

struct Settings {
  std::filesystem::path model;   ///< a Hugging Face directory or GGUF file
  std::filesystem::path output;  ///< a folder that is made anew
  uint64_t seed = 1;
  int64_t warmup_steps = 60;  ///< full precision, shared by both branches
  int64_t branch_steps = 60;  ///< of each branch
  int64_t delay_steps = 5;    ///< fake quantization is off in the QAT branch's first steps
  int64_t rows_per_step = 2;
  int64_t held_out_rows = 160;
  int64_t shown_rows = 6;
  int64_t group_size = 192;
  double lr = 1e-4;
};

/// Loss curve of one training phase.
struct Curve {
  std::string name;
  int64_t first_step = 0;
  std::vector<double> loss;
};

/// What the three models write for one held-out row.
struct Answer {
  std::string message;
  std::string expected;
  std::string full_precision;
  std::string ptq;
  std::string qat;
};

struct Outcome {
  Settings settings;
  std::vector<Curve> curves;
  nibble::eval::RecoveryReport report;
  std::vector<Answer> answers;
  std::string question;  ///< asked to the int4 model at the end
  std::string reply;
  double seconds = 0;
};

/// The whole job: rows, warm-up, a full-precision and a QAT branch from the same checkpoint,
/// conversion, comparison on the held-out rows, and a question to the model read back from disk.
Outcome run(const Settings& settings);

}  // namespace quickstart
