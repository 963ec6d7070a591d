// Quantizes a model of the user's own: prepared and converted forwards agree bit by bit.
#include <nibble/nn/linear.h>
#include <nibble/quantization/quantizer.h>

#include <torch/torch.h>

#include <iostream>

struct NetImpl : torch::nn::Module {
  nibble::nn::Linear up{nullptr}, down{nullptr};

  NetImpl() {
    up = register_module("up", nibble::nn::Linear(64, 128));
    down = register_module("down", nibble::nn::Linear(128, 64));
  }
  torch::Tensor forward(const torch::Tensor& x) { return down(torch::relu(up(x))); }
};
TORCH_MODULE(Net);

int main() {
  torch::manual_seed(0);
  const torch::NoGradGuard no_grad;
  Net net;
  const torch::Tensor x = torch::randn({3, 64});
  const torch::Tensor full_precision = net(x);

  const nibble::Int8DynActInt4WeightQATQuantizer quantizer(/*groupsize=*/32);
  std::cout << quantizer.prepare(net).to_string() << '\n';
  const torch::Tensor prepared = net(x);
  quantizer.convert(net);
  const torch::Tensor converted = net(x);

  const bool quantized = !torch::equal(prepared, full_precision);
  const bool same = torch::equal(prepared, converted);
  std::cout << "quantize_my_model: quantized " << quantized << ", converted equals prepared "
            << same << '\n';
  return quantized && same ? 0 : 1;
}
