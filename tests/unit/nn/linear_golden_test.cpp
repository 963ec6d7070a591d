#include <nibble/io/safetensors.h>
#include <nibble/nn/fake_quant_linear.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>

// Modules against TorchAO's: outputs and gradients within the tolerances of the golden README
// (max |error| / sum of |terms|), converted buffers bitwise.
namespace nibble::nn {
namespace {

using torch::Tensor;

std::filesystem::path golden_folder() {
  const char* folder = std::getenv("NIBBLE_GOLDEN_DIR");
  return folder != nullptr ? folder : NIBBLE_SOURCE_DIR "/tests/golden";
}

struct GoldenCase {
  const io::SafetensorsFile& file;
  std::string name;

  bool has(const std::string& tensor) const { return file.contains(name + "." + tensor); }
  Tensor at(const std::string& tensor) const {
    return tensor_io::to_tensor(file.at(name + "." + tensor)).clone();
  }
};

/// Tolerances of the golden README: max |error| over the sum of the absolute terms.
double output_tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 5e-6 : 1.0 / 128; }
double gradient_tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 1e-6 : 1.0 / 128; }

void expect_near(const Tensor& got, const Tensor& expected, const Tensor& magnitude,
                 double tolerance, const std::string& what) {
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  const Tensor error = (got.to(at::kDouble) - expected.to(at::kDouble)).abs() /
                       magnitude.to(at::kDouble).reshape(got.sizes()).clamp_min(1e-33);
  EXPECT_LE(error.max().item<double>(), tolerance) << what;
}

/// Sum of |terms| of the product a b.
Tensor magnitude(const Tensor& a, const Tensor& b) {
  return torch::matmul(a.to(at::kDouble).abs(), b.to(at::kDouble).abs());
}

/// |weight| of a converted module, that of the affine grid before step and zero point cancel: what
/// the kernels' roundings and those of fq(W) are relative to.
Tensor weight_terms(const LinearImpl& module) {
  if (!module.zeros.defined()) return module.effective_weight().abs();
  const auto per_column = [&](const Tensor& parameter) {
    return parameter.to(at::kDouble).repeat_interleave(module.spec()->group_size, 1);
  };
  const Tensor steps = module.codes().to(at::kDouble).sub(8).abs();
  return steps * per_column(module.scales) + per_column(module.zeros).abs();
}

QuantizationSpec spec_of(const std::map<std::string, std::string>& metadata) {
  QuantizationSpec spec;
  spec.scheme = scheme_from_string(metadata.at("scheme"));
  spec.group_size = std::stoll(metadata.at("group_size"));
  spec.scale_dtype = metadata.at("scales_precision") == "fp32" ? at::kFloat : at::kBFloat16;
  spec.grid = spec.scheme == Scheme::k8da4w ? WeightGrid::kSymmetric : WeightGrid::kAsymmetric;
  return spec;
}

void check_module(const GoldenCase& golden, const QuantizationSpec& spec) {
  SCOPED_TRACE(golden.name);
  Tensor x = golden.at("x").requires_grad_();
  const at::ScalarType dtype = x.scalar_type();
  const Tensor bias = golden.has("bias") ? golden.at("bias") : Tensor();
  FakeQuantLinear module(golden.at("w"), bias, spec);

  const Tensor y = module->forward(x);
  y.backward(golden.at("grad_y"));

  const int64_t k = x.size(-1);
  const Tensor x_seen = (golden.has("x_fq") ? golden.at("x_fq") : golden.at("x")).reshape({-1, k});
  const Tensor w_fq = golden.at("w_fq");
  const Tensor grad_y = golden.at("grad_y").reshape({-1, w_fq.size(0)});
  Tensor terms = magnitude(x_seen, w_fq.t());
  if (bias.defined()) terms = terms + bias.to(at::kDouble).abs();
  expect_near(y.detach(), golden.at("y"), terms, output_tolerance(dtype), "y");
  expect_near(x.grad(), golden.at("grad_x"), magnitude(grad_y, w_fq), gradient_tolerance(dtype),
              "grad_x");
  // Groups with a scale below 1e-20 have subnormal g * s: the README excludes them.
  const Tensor counts =
      golden.at("w_scale").to(at::kDouble).gt(1e-20).repeat_interleave(spec.group_size, 1);
  expect_near(module->weight.grad().to(at::kDouble) * counts,
              golden.at("grad_w").to(at::kDouble) * counts, magnitude(grad_y.t(), x_seen),
              gradient_tolerance(dtype), "grad_w");
  if (bias.defined()) {
    expect_near(module->bias.grad(), golden.at("grad_bias"), grad_y.to(at::kDouble).abs().sum(0),
                gradient_tolerance(dtype), "grad_bias");
  }

  module->convert();
  EXPECT_TRUE(torch::equal(module->codes().to(at::kInt), golden.at("conv_weight").to(at::kInt)));
  if (spec.scheme == Scheme::k8da4w) {
    EXPECT_TRUE(torch::equal(module->scales, golden.at("conv_scales")));
  } else {
    const Tensor both = torch::stack({module->scales, module->zeros}, -1).transpose(0, 1);
    EXPECT_TRUE(torch::equal(both, golden.at("conv_scales_and_zeros")));
  }
  torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::equal(module->forward(x), y)) << "converted differs from prepared";
  module->eval();  // takes the kernels that multiply codes
  terms = magnitude(x_seen, weight_terms(*module).t());
  if (bias.defined()) terms = terms + bias.to(at::kDouble).abs();
  expect_near(module->forward(x), golden.at("y"), terms, output_tolerance(dtype), "converted y");
}

TEST(golden_modules, OutputsGradientsAndConvertedBuffersAreTorchAOs) {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder())) {
    if (entry.path().extension() != ".safetensors") continue;
    SCOPED_TRACE(entry.path().filename().string());
    const io::SafetensorsFile file(entry.path());
    const QuantizationSpec spec = spec_of(file.metadata());
    const auto case_names = nlohmann::json::parse(file.metadata().at("cases"));
    for (const auto& item : case_names.items()) {
      check_module({file, item.key()}, spec);
      ++cases;
    }
  }
  EXPECT_GT(cases, 0) << "no golden file in " << golden_folder();
}

}  // namespace
}  // namespace nibble::nn
