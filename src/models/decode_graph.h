#pragma once

#include <nibble/models/decode_step.h>
#include <nibble/models/generation.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace nibble::models {

/// Decoding as replays of one CUDA graph. Each replay gives the next its token on the device; the
/// host reads tokens behind it.
class DecodeGraph {
 public:
  /// Whether this build has CUDA.
  static bool is_available();

  /// Captures the step and the choice of the next token. `token` is the text's last and stands at
  /// `position`; `step` and `options` must outlive it.
  DecodeGraph(DecodeStep& step, const GenerationOptions& options, int64_t token, int64_t position);
  ~DecodeGraph();
  DecodeGraph(const DecodeGraph&) = delete;
  DecodeGraph& operator=(const DecodeGraph&) = delete;

  /// At most so many steps may be queued and not read.
  static constexpr int64_t kAhead = 2;
  /// Queues a step.
  void launch();
  /// Waits for the token of the step queued first among those not read.
  int64_t read();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble::models
