#include <nibble/ops/decode.h>

#include <ATen/Functions.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>

#include "decode_graph.h"
#include "sampling.h"

namespace nibble::models {

struct DecodeGraph::State {
  DecodeStep& step;
  const GenerationOptions& options;
  // Not the default stream: that one cannot be captured.
  c10::cuda::CUDAStream stream;
  at::Generator generator;
  at::cuda::CUDAGraph graph;
  at::Tensor tokens;  // the token behind position p at p % kAhead, in memory that the device writes
  std::array<at::cuda::CUDAEvent, kAhead> written;
  int64_t launched = 0;  // positions: what the next launch and the next read begin with
  int64_t taken = 0;

  State(DecodeStep& the_step, const GenerationOptions& the_options)
      : step(the_step),
        options(the_options),
        stream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false,
                                            the_step.token().device().index())),
        generator(at::cuda::detail::createCUDAGenerator(the_step.token().device().index())),
        tokens(at::empty({kAhead}, at::TensorOptions(at::kLong).pinned_memory(true))) {
    generator.set_current_seed(options.seed);
  }

  void run() {
    const at::Tensor next = sample(step.logits(), options, generator);
    ops::advance_token(next, step.token(), step.position(), tokens);
  }

  void set(int64_t token, int64_t position) {
    step.token().fill_(token);
    step.position().fill_(position);
    launched = taken = position;
  }
};

bool DecodeGraph::is_available() { return true; }

DecodeGraph::DecodeGraph(DecodeStep& step, const GenerationOptions& options, int64_t token,
                         int64_t position)
    : state_(std::make_unique<State>(step, options)) {
  const c10::Device device = step.token().device();
  c10::cuda::getCurrentCUDAStream(device.index()).synchronize();  // what came before is done
  const c10::cuda::CUDAStreamGuard guard(state_->stream);
  state_->set(token, position);
  state_->run();  // what is made on first use may not be made during a capture
  state_->generator.set_current_seed(options.seed);
  state_->stream.synchronize();
  state_->graph.register_generator_state(state_->generator);
  state_->graph.capture_begin();
  state_->run();
  state_->graph.capture_end();
  state_->set(token, position);
  state_->stream.synchronize();
}

DecodeGraph::~DecodeGraph() { state_->stream.synchronize(); }

void DecodeGraph::launch() {
  const c10::cuda::CUDAStreamGuard guard(state_->stream);
  state_->graph.replay();
  state_->written[static_cast<size_t>(state_->launched++ % kAhead)].record(state_->stream);
}

int64_t DecodeGraph::read() {
  const int64_t slot = state_->taken++ % kAhead;
  state_->written[static_cast<size_t>(slot)].synchronize();
  return state_->tokens.const_data_ptr<int64_t>()[slot];
}

}  // namespace nibble::models
