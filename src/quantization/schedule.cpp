#include <nibble/quantization/quantizer.h>
#include <nibble/quantization/schedule.h>

namespace nibble {

void FakeQuantSchedule::apply(torch::nn::Module& model, int64_t step) const {
  set_fake_quant_enabled(model, activations_on(step), weights_on(step));
}

}  // namespace nibble
