#include <nibble/core/error.h>
#include <nibble/nn/embedding.h>
#include <nibble/nn/fake_quant_linear.h>
#include <nibble/quantization/quantize.h>
#include <nibble/quantization/quantizer.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace nibble {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

/// A network of a user: typed members of our Linear, a plain Sequential, a tied head.
struct NetImpl : torch::nn::Cloneable<NetImpl> {
  NetImpl() { NetImpl::reset(); }
  void reset() override {
    up = register_module("up", nn::Linear(32, 64));
    down = register_module("down", nn::Linear(torch::nn::LinearOptions(64, 32).bias(false)));
  }
  Tensor forward(const Tensor& x) { return down->forward(torch::relu(up->forward(x))); }
  nn::Linear up{nullptr};
  nn::Linear down{nullptr};
};
TORCH_MODULE(Net);

struct TiedImpl : torch::nn::Module {
  TiedImpl() {
    embed = register_module("embed", torch::nn::Embedding(40, 32));
    fc = register_module("fc", nn::Linear(32, 32));
    head = register_module("head", nn::Linear(embed->weight, Tensor()));
  }
  Tensor forward(const Tensor& ids) { return head->forward(fc->forward(embed->forward(ids))); }
  torch::nn::Embedding embed{nullptr};
  nn::Linear fc{nullptr};
  nn::Linear head{nullptr};
};
TORCH_MODULE(Tied);

/// The same with the embedding that quantizers can switch.
struct TiedToOursImpl : torch::nn::Module {
  TiedToOursImpl() {
    torch::manual_seed(5);
    embed = register_module("embed", nn::Embedding(torch::randn({40, 32}).set_requires_grad(true)));
    fc = register_module("fc", nn::Linear(32, 32));
    lm_head = register_module("lm_head", nn::Linear(embed->weight, Tensor()));
  }
  Tensor forward(const Tensor& ids) { return lm_head->forward(fc->forward(embed->forward(ids))); }
  nn::Embedding embed{nullptr};
  nn::Linear fc{nullptr};
  nn::Linear lm_head{nullptr};
};
TORCH_MODULE(TiedToOurs);

struct TypedPlainImpl : torch::nn::Module {
  TypedPlainImpl() {
    good = register_module("good", nn::Linear(32, 32));
    bad = register_module("bad", torch::nn::Linear(32, 32));
  }
  nn::Linear good{nullptr};
  torch::nn::Linear bad{nullptr};
};
TORCH_MODULE(TypedPlain);

struct ScaledLinearImpl : torch::nn::LinearImpl {
  ScaledLinearImpl() : torch::nn::LinearImpl(32, 32) {}
  Tensor forward(const Tensor& x) { return torch::nn::LinearImpl::forward(x) * 2; }
};
TORCH_MODULE(ScaledLinear);

Tensor make_input() {
  torch::manual_seed(11);
  return torch::randn({4, 32});
}

Net make_net() {
  torch::manual_seed(12);
  return Net();
}

Tensor train_step(Net& net, torch::optim::Optimizer& optimizer) {
  optimizer.zero_grad();
  const Tensor loss = net->forward(make_input()).square().mean();
  loss.backward();
  optimizer.step();
  return loss.detach();
}

TEST(Quantizer, TypedMembersOfOurLinearSwitchInPlace) {
  Net net = make_net();
  const Tensor before = net->forward(make_input());
  const QuantizationReport report = Int8DynActInt4WeightQATQuantizer(16).prepare(net);
  EXPECT_EQ(report.swapped(), 2);
  EXPECT_EQ(report.skipped(), 0);
  EXPECT_EQ(net->up->state(), nn::LinearState::kFakeQuantized);
  const Tensor prepared = net->forward(make_input());
  EXPECT_FALSE(torch::equal(prepared, before));
  Int8DynActInt4WeightQATQuantizer(16).convert(net);
  EXPECT_TRUE(torch::equal(net->forward(make_input()), prepared));
}

TEST(Quantizer, APlanIsTheReportOfPrepareAndChangesNothing) {
  SwapOptions allow;
  allow.allow_unquantized_layers = true;
  const Int8DynActInt4WeightQATQuantizer quantizer(64, at::kBFloat16, allow);
  Net net = make_net();
  const QuantizationReport plan = quantizer.plan(*net);
  EXPECT_EQ(net->down->state(), nn::LinearState::kFullPrecision);
  EXPECT_EQ(plan.to_string(), quantizer.prepare(net).to_string());
  EXPECT_EQ(plan.swapped(), 1);
  const auto meta = at::TensorOptions(at::kMeta);
  torch::nn::Sequential shapes({{"up", nn::Linear(at::empty({64, 32}, meta), Tensor())},
                                {"down", nn::Linear(at::empty({32, 64}, meta), Tensor())}});
  EXPECT_EQ(quantizer.plan(*shapes).to_string(), plan.to_string());
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(128, at::kBFloat16, allow).plan(*net).swapped(), 0);
}

TEST(Quantizer, PlainChildrenOfContainersAreReplaced) {
  torch::manual_seed(12);
  torch::nn::Sequential model(torch::nn::Linear(32, 64), torch::nn::ReLU(),
                              torch::nn::Linear(64, 8));
  model->eval();
  const Int4WeightOnlyQATQuantizer quantizer(32);
  EXPECT_EQ(quantizer.prepare(model).swapped(), 2);
  EXPECT_FALSE(model->ptr(0)->is_training());
  const Tensor prepared = model->forward(make_input());
  quantizer.convert(model);
  EXPECT_NE(model->ptr(0)->as<nn::QuantizedLinear>(), nullptr);
  EXPECT_NE(model->named_children()["2"]->as<nn::QuantizedLinear>(), nullptr);
  EXPECT_TRUE(torch::equal(model->forward(make_input()), prepared));
}

TEST(Quantizer, AnOptimizerBuiltBeforePrepareGoesOnTraining) {
  Net net = make_net();
  torch::optim::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(1e-2));
  Int8DynActInt4WeightQATQuantizer(16).prepare(net);
  const Tensor first = train_step(net, optimizer);
  Tensor last;
  for (int step = 0; step < 20; ++step) last = train_step(net, optimizer);
  EXPECT_LT(last.item<float>(), 0.5f * first.item<float>());
}

TEST(Quantizer, DisabledTrainsAsFullPrecision) {
  Net plain = make_net();
  Net prepared = make_net();
  Int8DynActInt4WeightQATQuantizer(16).prepare(prepared);
  EXPECT_EQ(disable_fake_quant(*prepared), 2);
  torch::optim::SGD a(plain->parameters(), 0.1);
  torch::optim::SGD b(prepared->parameters(), 0.1);
  for (int step = 0; step < 3; ++step) {
    EXPECT_TRUE(torch::equal(train_step(plain, a), train_step(prepared, b)));
  }
  EXPECT_TRUE(torch::equal(plain->up->weight, prepared->up->weight));
  enable_fake_quant(*prepared);
  EXPECT_FALSE(torch::equal(plain->forward(make_input()), prepared->forward(make_input())));
}

TEST(Quantizer, ATypedPlainMemberIsAnErrorAndNothingChanges) {
  TypedPlain model;
  EXPECT_THAT([&] { Int8DynActInt4WeightQATQuantizer(16).prepare(model); },
              ThrowsMessage<Error>(AllOf(HasSubstr("bad is a torch::nn::Linear"),
                                         HasSubstr("Declare the member as nibble::nn::Linear"))));
  EXPECT_EQ(model->good->state(), nn::LinearState::kFullPrecision);
  SwapOptions options;
  options.modules_to_not_convert = {"bad"};
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16, at::kFloat, options).prepare(model).skipped(), 1);
}

TEST(Quantizer, ARootThatIsAPlainLinearIsAnError) {
  torch::nn::Linear plain(32, 32);
  EXPECT_THAT([&] { Int8DynActInt4WeightQATQuantizer(16).prepare(plain); },
              ThrowsMessage<Error>(HasSubstr("nibble::nn::Linear")));
  nn::Linear ours(32, 32);
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16).prepare(ours).swapped(), 1);
}

TEST(Quantizer, ASubclassOfTorchsLinearIsAnError) {
  torch::nn::Sequential model(ScaledLinear{}, torch::nn::Linear(32, 32));
  EXPECT_THAT([&] { Int8DynActInt4WeightQATQuantizer(16).prepare(model); },
              ThrowsMessage<Error>(HasSubstr("0 is a class derived from torch::nn::Linear")));
  SwapOptions options;
  options.modules_to_not_convert = {"0"};
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16, at::kFloat, options).prepare(model).swapped(), 1);
}

TEST(Quantizer, LayersThatDoNotDivideAreAnErrorThatSaysWhatFits) {
  torch::nn::Sequential model(nn::Linear(576, 64), nn::Linear(64, 1536), nn::Linear(1536, 576));
  EXPECT_THAT(
      [&] { Int8DynActInt4WeightQATQuantizer(128).prepare(model); },
      ThrowsMessage<Error>(AllOf(HasSubstr("does not divide in_features of 2 of 3 Linears"),
                                 HasSubstr("first: 0"), HasSubstr("fit all of them: 16, 32, 64"),
                                 HasSubstr("allow_unquantized_layers"))));
  SwapOptions options;
  options.allow_unquantized_layers = true;
  const auto report = Int8DynActInt4WeightQATQuantizer(128, at::kFloat, options).prepare(model);
  EXPECT_EQ(report.swapped(), 1);
  EXPECT_THAT(report.to_string(),
              AllOf(HasSubstr("quantized 1 of 3 Linears"),
                    HasSubstr("skipped: group size 128 does not divide in_features 576")));
}

TEST(Quantizer, ATiedWeightFollowsTheRule) {
  const Tensor ids = torch::arange(6);
  Tied kept;
  const auto report = Int8DynActInt4WeightQATQuantizer(16).prepare(kept);
  EXPECT_EQ(report.swapped(), 1);
  EXPECT_THAT(report.to_string(), HasSubstr("its weight is tied to a torch::nn::Embedding"));
  EXPECT_TRUE(kept->head->weight.is_same(kept->embed->weight));

  Tied untied;
  SwapOptions options;
  options.tied_weight = TiedWeight::kUntie;
  const Int8DynActInt4WeightQATQuantizer quantizer(16, at::kFloat, options);
  EXPECT_EQ(quantizer.prepare(untied).swapped(), 2);
  EXPECT_FALSE(untied->head->weight.is_same(untied->embed->weight));
  EXPECT_TRUE(torch::equal(untied->head->weight, untied->embed->weight));
  EXPECT_TRUE(untied->head->weight.requires_grad());
  EXPECT_EQ(untied->parameters().size(), 4);
  quantizer.convert(untied);
  EXPECT_EQ(untied->forward(ids).sizes(), at::IntArrayRef({6, 40}));
}

SwapOptions quantize_both() {
  SwapOptions options;
  options.quantize_lm_head = true;
  options.tied_weight = TiedWeight::kBoth;
  return options;
}

TEST(Quantizer, BothUsesOfATiedWeightAreQuantized) {
  for (const auto& spec :
       {nn::QuantizationSpec{nn::Scheme::k8da4w, 16, at::kFloat},
        nn::QuantizationSpec{nn::Scheme::k4w, 32, at::kBFloat16, nn::WeightGrid::kAsymmetric},
        nn::QuantizationSpec{nn::Scheme::k4w, nn::kPerChannel, at::kFloat}}) {
    TiedToOurs model;
    const Tensor weight = model->embed->weight;
    const Tensor ids = torch::tensor({{1, 39, 1, 4}});
    const Tensor plain = model->forward(ids);
    const SpecQATQuantizer quantizer(spec, quantize_both());
    const auto report = quantizer.prepare(model);
    EXPECT_EQ(report.swapped(), 2);
    EXPECT_THAT(report.to_string(), HasSubstr("with the embedding that shares its weight"));
    EXPECT_TRUE(model->embed->weight.is_same(weight));
    EXPECT_TRUE(model->lm_head->weight.is_same(weight));
    const Tensor prepared = model->forward(ids);
    EXPECT_TRUE(torch::equal(model->embed->forward(ids),
                             torch::embedding(model->lm_head->effective_weight(), ids)));

    // The gradient of one weight that both uses read.
    prepared.square().sum().backward();
    const Tensor actual = weight.grad().clone();
    const Tensor fq = model->lm_head->effective_weight();
    const Tensor hidden = model->fc->forward(torch::embedding(fq, ids));
    const nn::SharedInput shared(hidden);
    const Tensor logits =
        torch::linear(spec.quantizes_activations() ? shared.fake_quantized() : shared.value(), fq);
    EXPECT_TRUE(torch::equal(logits, prepared));
    const Tensor expected = torch::autograd::grad({logits.square().sum()}, {weight})[0];
    EXPECT_TRUE(torch::allclose(actual, expected, 1e-4, 1e-4));

    disable_fake_quant(*model);
    EXPECT_TRUE(torch::equal(model->forward(ids), plain));
    EXPECT_EQ(set_fake_quant_enabled(*model, true, false), 2);
    EXPECT_TRUE(torch::equal(model->embed->forward(ids), torch::embedding(weight, ids)));
    enable_fake_quant(*model);
    EXPECT_TRUE(torch::equal(model->forward(ids), prepared));

    quantizer.convert(model);
    EXPECT_EQ(model->lm_head->state(), nn::LinearState::kQuantized);
    EXPECT_TRUE(torch::equal(model->forward(ids), prepared));
    EXPECT_EQ(model->parameters().size(), 2) << "the look-up table and a bias";
  }
}

TEST(Quantizer, BothNeedsAnEmbeddingThatCanBeQuantized) {
  Tied model;
  SwapOptions options;
  options.tied_weight = TiedWeight::kBoth;
  try {
    Int8DynActInt4WeightQATQuantizer(16, at::kFloat, options).prepare(model);
    FAIL() << "no error";
  } catch (const PrepareError& error) {
    EXPECT_EQ(error.about(), PrepareError::About::kTiedWeight);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("head is tied to a torch::nn::Embedding"),
                                    HasSubstr("nibble::nn::Embedding")));
  }
  EXPECT_EQ(model->fc->state(), nn::LinearState::kFullPrecision);
}

TEST(Quantizer, BothLeavesAnEmbeddingAloneWhoseLinearIsKept) {
  TiedToOurs model;
  SwapOptions options = quantize_both();
  options.quantize_lm_head = false;
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16, at::kFloat, options).prepare(model).swapped(), 1);
  EXPECT_FALSE(model->embed->spec().has_value());
}

TEST(Quantizer, LinearsThatShareAWeightAreBothSwapped) {
  auto model = std::make_shared<torch::nn::Module>();
  nn::Linear first(32, 32);
  nn::Linear second(first->weight, first->bias);
  model->register_module("first", first);
  model->register_module("second", second);
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16).prepare(*model).swapped(), 2);
  (first->forward(make_input()) + second->forward(make_input())).sum().backward();
  const Tensor both = first->weight.grad().clone();
  first->weight.mutable_grad() = Tensor();
  first->forward(make_input()).sum().backward();
  EXPECT_TRUE(torch::allclose(both, first->weight.grad() * 2));
}

TEST(Quantizer, LmHeadStaysUnlessAsked) {
  const auto make = [] {
    auto model = std::make_shared<torch::nn::Module>();
    model->register_module("fc", nn::Linear(32, 32));
    model->register_module("lm_head", nn::Linear(32, 40));
    return model;
  };
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16).prepare(*make()).swapped(), 1);
  SwapOptions options;
  options.quantize_lm_head = true;
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16, at::kFloat, options).prepare(*make()).swapped(),
            2);
}

TEST(Quantizer, AModuleUnderTwoNamesIsSwappedOnce) {
  auto shared = std::make_shared<torch::nn::LinearImpl>(32, 32);
  auto model = std::make_shared<torch::nn::Module>();
  model->register_module("a", shared);
  model->register_module("b", shared);
  shared.reset();
  EXPECT_EQ(Int8DynActInt4WeightQATQuantizer(16).prepare(*model).layers.size(), 1);
  EXPECT_EQ(model->named_children()["a"], model->named_children()["b"]);
}

TEST(Quantizer, RulesNameLinearsOrModulesThatHoldThem) {
  const auto kept = [](const std::string& rule) {
    auto model = std::make_shared<torch::nn::Module>();
    for (const char* layer : {"a", "b"}) {
      auto block = model->register_module(layer, std::make_shared<torch::nn::Module>());
      auto mlp = block->register_module("mlp", std::make_shared<torch::nn::Module>());
      mlp->register_module("up", nn::Linear(32, 32));
      block->register_module("out", nn::Linear(32, 32));
    }
    SwapOptions options;
    options.modules_to_not_convert = {rule};
    std::string names;
    for (const LayerReport& layer :
         Int8DynActInt4WeightQATQuantizer(16, at::kFloat, options).prepare(*model).layers) {
      if (!layer.swapped) names += layer.path + " ";
    }
    return names;
  };
  EXPECT_EQ(kept("up"), "a.mlp.up b.mlp.up ");
  EXPECT_EQ(kept("mlp"), "a.mlp.up b.mlp.up ");
  EXPECT_EQ(kept("a"), "a.mlp.up a.out ");
  EXPECT_EQ(kept("b.mlp"), "b.mlp.up ");
  EXPECT_EQ(kept("b.mlp.up"), "b.mlp.up ");
  EXPECT_THROW(kept("mlp.up"), PrepareError) << "neither a path nor one component";
  EXPECT_THROW(kept("ml"), PrepareError);
}

TEST(Quantizer, ARuleThatNamesNothingIsAnError) {
  Net net = make_net();
  SwapOptions options;
  options.modules_to_not_convert = {"lm_haed"};
  EXPECT_THAT([&] { Int8DynActInt4WeightQATQuantizer(16, at::kFloat, options).prepare(net); },
              ThrowsMessage<Error>(HasSubstr("names 'lm_haed'")));
}

TEST(Quantizer, ErrorsOfPrepareSayWhichChoiceHasToChange) {
  using About = PrepareError::About;
  const auto about = [](const nn::QuantizationSpec& spec, torch::nn::Module& model,
                        const SwapOptions& options) -> std::optional<About> {
    try {
      SpecQATQuantizer(spec, options).prepare(model);
    } catch (const PrepareError& error) {
      return error.about();
    }
    return std::nullopt;
  };
  const nn::QuantizationSpec fits{nn::Scheme::k8da4w, 16, at::kFloat, nn::WeightGrid::kSymmetric};
  nn::QuantizationSpec too_large = fits;
  too_large.group_size = 48;
  nn::QuantizationSpec zero = fits;
  zero.group_size = 0;
  nn::QuantizationSpec no_such_grid = fits;
  no_such_grid.grid = nn::WeightGrid::kAsymmetric;
  SwapOptions typo;
  typo.modules_to_not_convert = {"lm_haed"};
  torch::nn::Sequential nothing{torch::nn::ReLU()};

  Net net = make_net();
  EXPECT_EQ(about(too_large, *net, {}), About::kGroupSize);
  EXPECT_EQ(about(zero, *net, {}), About::kGroupSize);
  EXPECT_EQ(about(no_such_grid, *net, {}), About::kSpec);
  EXPECT_EQ(about(fits, *net, typo), About::kModulesToNotConvert);
  EXPECT_EQ(about(fits, *nothing, {}), About::kModel);
  nn::Linear root(32, 32);
  EXPECT_EQ(about(too_large, *root, {}), About::kGroupSize);
  EXPECT_EQ(about(fits, *net, {}), std::nullopt);
  quantize_(root, int8_dynamic_activation_int4_weight(16));
  EXPECT_EQ(about(fits, *root, {}), About::kModel);
  SpecQATQuantizer(fits).convert(*net);
  EXPECT_EQ(about(fits, *net, {}), About::kModel);
}

TEST(Quantizer, NothingToDoIsAnError) {
  torch::nn::Sequential model{torch::nn::ReLU()};
  EXPECT_THAT([&] { Int8DynActInt4WeightQATQuantizer(16).prepare(model); },
              ThrowsMessage<Error>(HasSubstr("found no Linear to quantize")));
  Net net = make_net();
  EXPECT_THAT([&] { Int8DynActInt4WeightQATQuantizer(16).convert(net); },
              ThrowsMessage<Error>(HasSubstr("found no prepared Linear")));
}

TEST(Quantizer, ModelsOfOurLinearCloneSaveAndLoadInEveryState) {
  Net net = make_net();
  const Int8DynActInt4WeightQATQuantizer quantizer(16);
  for (int stage = 0; stage < 3; ++stage) {
    if (stage == 1) quantizer.prepare(net);
    if (stage == 2) quantizer.convert(net);
    const Tensor expected = net->forward(make_input());
    const auto clone = std::dynamic_pointer_cast<NetImpl>(net->clone());
    EXPECT_TRUE(torch::equal(clone->forward(make_input()), expected));
    std::stringstream stream;
    torch::save(net, stream);
    Net loaded;
    if (stage > 0) quantizer.prepare(loaded);
    if (stage > 1) quantizer.convert(loaded);
    torch::load(loaded, stream);
    EXPECT_TRUE(torch::equal(loaded->forward(make_input()), expected));
    net->to(at::kBFloat16);
    net->to(at::kFloat);
    net->eval();
    EXPECT_EQ(net->forward(make_input()).sizes(), expected.sizes());
  }
}

TEST(Quantize, PostTrainingEqualsPrepareAndConvert) {
  for (const QuantizeConfig& config :
       {int8_dynamic_activation_int4_weight(16), int4_weight_only(32),
        int4_weight_only(nn::kPerChannel, nn::WeightGrid::kSymmetric)}) {
    Net trained = make_net();
    Net reference = make_net();
    EXPECT_EQ(quantize_(trained, config).swapped(), 2);
    const SpecQATQuantizer quantizer(config.spec);
    quantizer.prepare(reference);
    EXPECT_TRUE(torch::equal(trained->forward(make_input()), reference->forward(make_input())));
    EXPECT_EQ(trained->up->state(), nn::LinearState::kQuantized);
  }
}

TEST(Quantize, AModelWithNanIsLeftAlone) {
  Net net = make_net();
  {
    torch::NoGradGuard no_grad;
    net->down->weight[0][0] = std::numeric_limits<float>::quiet_NaN();
  }
  EXPECT_THAT([&] { quantize_(net, int8_dynamic_activation_int4_weight(16)); },
              ThrowsMessage<Error>(HasSubstr("down.weight holds NaN")));
  EXPECT_EQ(net->up->state(), nn::LinearState::kFullPrecision);

  nn::Linear root(32, 32);
  {
    torch::NoGradGuard no_grad;
    root->weight[1][2] = std::numeric_limits<float>::infinity();
  }
  EXPECT_THAT([&] { quantize_(root, int8_dynamic_activation_int4_weight(16)); },
              ThrowsMessage<Error>(HasSubstr("infinite")));
  EXPECT_EQ(root->state(), nn::LinearState::kFullPrecision);
}

}  // namespace
}  // namespace nibble
