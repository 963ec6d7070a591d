// Quantization-aware training of a module of your own, in a loop of your own.

#include <nibble/nibble.h>

#include <torch/torch.h>

#include <iostream>

// [readme]
struct NetImpl : torch::nn::Module {
  NetImpl() {
    up = register_module("up", nibble::nn::Linear(64, 128));
    down = register_module("down", nibble::nn::Linear(128, 64));
  }
  torch::Tensor forward(torch::Tensor x) { return down(torch::relu(up(x))); }
  nibble::nn::Linear up{nullptr}, down{nullptr};  // drop-ins for torch::nn::Linear
};
TORCH_MODULE(Net);

double train(Net net, const torch::Tensor& x, const torch::Tensor& y) {
  torch::optim::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(1e-2));
  nibble::Int8DynActInt4WeightQATQuantizer quantizer(/*groupsize=*/32);
  std::cout << quantizer.prepare(net).to_string() << "\n";  // from here on y = fq(x) fq(W)^T + b
  torch::Tensor loss;
  for (int step = 0; step < 200; ++step) {
    optimizer.zero_grad();
    loss = torch::mse_loss(net(x), y);
    loss.backward();
    optimizer.step();
  }
  quantizer.convert(net);  // int4 codes and scales: the same output, bit for bit
  return loss.item<double>();
}
// [readme]

int main() {
  torch::manual_seed(0);
  const torch::Tensor x = torch::randn({256, 64});
  const torch::Tensor y = torch::sin(x.matmul(torch::randn({64, 64}) / 8));
  Net net;
  const double before = torch::mse_loss(net(x), y).item<double>();
  const double trained = train(net, x, y);
  torch::NoGradGuard no_grad;
  const double converted = torch::mse_loss(net(x), y).item<double>();
  std::cout << "loss before " << before << ", trained " << trained << ", int4 " << converted
            << std::endl;
  return converted < 0.5 * before ? 0 : 1;
}
