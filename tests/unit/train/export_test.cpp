#include <nibble/eval/model_loading.h>
#include <nibble/io/gguf.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/models/decoder.h>
#include <nibble/models/saving.h>
#include <nibble/nn/swap.h>
#include <nibble/quantization/export.h>
#include <nibble/quantization/int8_embedding.h>
#include <nibble/text/tokenizer.h>
#include <nibble/train/finish.h>
#include <nibble/train/trained_model.h>

#include <torch/torch.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "unit/train/trainer_test_case.h"

// One model all the way: prepared, converted in memory, exported, read back.
namespace nibble::train {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ExportTest : public TrainerTestCase {
 protected:
  /// Trains and converts; the run's checkpoint stays in full precision.
  std::unique_ptr<Trainer> converted(const std::string& run, Overrides overrides = {}) {
    overrides.insert(overrides.begin(),
                     {"--qat.enabled", "--qat.quantizer.scales_precision=bfloat16",
                      "--step_scheduler.max_steps=3"});
    auto trainer = std::make_unique<Trainer>(recipe(run, overrides));
    trainer->run();
    make_quantizer(trainer->recipe().qat).convert(trainer->model());
    return trainer;
  }

  ExportReport export_run(const std::string& run, ExportFormat format, const std::string& output,
                          const ExportOptions& options = {}) const {
    const TrainedModel model = open_trained_model(path(run));
    return export_model(*export_source(model), format, path(output), options);
  }

  static at::Tensor logits(models::CausalLMImpl& model) {
    const torch::NoGradGuard no_grad;
    return model.forward(torch::arange(0, 40).unsqueeze(0));
  }
  at::Tensor logits_of(const std::string& output) const {
    return logits(*eval::load_any_model(path(output)).model);
  }

  template <class Function>
  static std::string message_of(const Function& function) {
    try {
      function();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  /// The quantized weights of two models, as values, bit for bit.
  static void expect_same_weights(models::CausalLMImpl& a, models::CausalLMImpl& b) {
    const auto left = nn::find_linears(a), right = nn::find_linears(b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) {
      if (left[i].path == "lm_head") continue;  // GGUF rounds an unquantized one to Q8_0
      const auto& one = dynamic_cast<const nn::LinearImpl&>(*left[i].module);
      const auto& other = dynamic_cast<const nn::LinearImpl&>(*right[i].module);
      EXPECT_TRUE(one.effective_weight().equal(other.effective_weight())) << left[i].path;
    }
  }
};

TEST_F(ExportTest, EveryFormatGivesTheTrainedModelBack) {
  const auto trainer = converted("run");
  const at::Tensor expected = logits(trainer->model());
  for (const auto& [format, name, pack] :
       {std::tuple(ExportFormat::kCompressedTensors, "int-quantized", false),
        {ExportFormat::kCompressedTensors, "pack-quantized", true},
        {ExportFormat::kTorchAO, "IntxUnpackedToInt8Tensor", false}}) {
    const ExportReport report = export_run("run", format, name, {.pack_8da4w = pack});
    EXPECT_EQ(report.layout, name);
    EXPECT_EQ(report.largest_relative_error, 0.0);
    EXPECT_EQ(report.quantized_linears, 14);
    EXPECT_TRUE(logits_of(name).equal(expected)) << name;
  }
  EXPECT_EQ(export_run("run", ExportFormat::kGguf, "model.gguf").largest_relative_error, 0.0);
  expect_same_weights(*eval::load_any_model(path("model.gguf")).model, trainer->model());
  EXPECT_GT(export_run("run", ExportFormat::kHuggingFace, "hf").largest_relative_error, 0.0);
  EXPECT_EQ(open_trained_model(path("hf")).spec(), std::nullopt);
}

TEST_F(ExportTest, StreamingAndMemoryWriteTheSameBytes) {
  const auto trainer = converted("run");
  for (const auto& [format, name] :
       {std::pair(ExportFormat::kCompressedTensors, "ct"), {ExportFormat::kTorchAO, "ao"}}) {
    export_run("run", format, std::string(name) + ".stream");
    export_model(trainer->model(), trainer->model().config_json(), &trainer->source(), format,
                 path(name));
    EXPECT_EQ(bytes(std::string(name) + ".stream/model.safetensors"),
              bytes(std::string(name) + "/model.safetensors"));
  }
}

TEST_F(ExportTest, FormatsAreConvertedIntoEachOther) {
  converted("run");
  export_run("run", ExportFormat::kTorchAO, "ao");
  export_run("ao", ExportFormat::kCompressedTensors, "ct", {.pack_8da4w = true});
  export_run("ct", ExportFormat::kTorchAO, "ao2");
  EXPECT_EQ(bytes("ao/model.safetensors"), bytes("ao2/model.safetensors"));
  export_run("run", ExportFormat::kGguf, "a.gguf");
  export_run("ct", ExportFormat::kGguf, "b.gguf");
  const io::GgufFile a(path("a.gguf")), b(path("b.gguf"));
  for (const std::string& name : a.names()) {
    EXPECT_TRUE(std::ranges::equal(a.at(name).bytes, b.at(name).bytes)) << name;
  }
}

TEST_F(ExportTest, TensorsAreFoundUnderAnyPrefix) {
  fs::copy(model_path(), path("wrapped"), fs::copy_options::recursive);
  const io::SafetensorsFile plain(fs::path(model_path()) / "model.safetensors");
  std::vector<io::NamedTensor> tensors;
  for (const std::string& name : plain.names()) {
    tensors.push_back({"language_model." + name, plain.at(name)});
  }
  io::write_safetensors(path("wrapped/model.safetensors"), tensors);
  const SpecQATQuantizer ptq({nn::Scheme::k4w, 32, at::kBFloat16, nn::WeightGrid::kSymmetric});
  for (const std::string& model : {std::string(model_path()), std::string(path("wrapped"))}) {
    const TrainedModel opened = open_trained_model(model);
    export_model(*export_source(opened, ptq), ExportFormat::kTorchAO, model + ".ao");
  }
  const auto read = [](const std::string& file) { return io::read_text_file(file); };
  EXPECT_EQ(read(std::string(path("wrapped")) + ".ao/model.safetensors"),
            read(std::string(model_path()) + ".ao/model.safetensors"));
}

TEST_F(ExportTest, KnowsWhatARunWasTrainedOn) {
  converted("run");
  converted("other", {"--dataset.split=train[:12]"});
  const TrainingRecord record = *open_trained_model(path("run")).training;
  EXPECT_EQ(record.base, std::filesystem::canonical(model_path()).string());
  EXPECT_EQ(record.steps, 3);
  EXPECT_EQ(record.data_hash.size(), 16u);
  EXPECT_NE(open_trained_model(path("other")).training->data_hash, record.data_hash);
  EXPECT_FALSE(open_trained_model(model_path()).training);

  const auto state = path("run") / "LATEST" / "state.json";
  nlohmann::json older = io::read_json_file(state);
  older.erase("data_hash");
  io::write_json_file(state, older);
  EXPECT_EQ(open_trained_model(path("run")).training->data_hash, "");
}

TEST_F(ExportTest, FindsTheRecipeFromEveryFolderOfARun) {
  converted("run");
  const nn::QuantizationSpec spec{nn::Scheme::k8da4w, 32, at::kBFloat16,
                                  nn::WeightGrid::kSymmetric};
  for (const char* name : {"run", "run/LATEST", "run/LATEST/model", "run/epoch_0_step_2"}) {
    EXPECT_EQ(open_trained_model(path(name)).spec(), spec) << name;
  }
  EXPECT_EQ(open_trained_model(model_path()).spec(), std::nullopt);
  const TrainedModel plain = open_trained_model(model_path());
  EXPECT_THAT(message_of([&] { export_source(plain); }), HasSubstr("full-precision model"));
  const TrainedModel trained = open_trained_model(path("run"));
  EXPECT_THAT(message_of([&] { export_source(trained, SpecQATQuantizer(spec)); }),
              HasSubstr("already"));
}

TEST_F(ExportTest, TheAsymmetricGridGoesToTorchAOOnly) {
  const auto trainer = converted(
      "run", {"--qat.quantizer._target_=torchao.quantization.qat.Int4WeightOnlyQATQuantizer"});
  EXPECT_EQ(export_run("run", ExportFormat::kTorchAO, "ao").layout, "Int4TilePackedTo4dTensor");
  EXPECT_TRUE(logits_of("ao").equal(logits(trainer->model())));
  for (const auto format : {ExportFormat::kGguf, ExportFormat::kCompressedTensors}) {
    EXPECT_THAT(message_of([&] { export_run("run", format, "out"); }), HasSubstr("asymmetric"));
    EXPECT_FALSE(fs::exists(path("out")));
  }
}

TEST_F(ExportTest, ScalesThatBinary16DoesNotHoldAreRefusedUnlessAllowed) {
  converted("run", {"--qat.quantizer.scales_precision=float32"});
  EXPECT_THAT(message_of([&] { export_run("run", ExportFormat::kGguf, "model.gguf"); }),
              HasSubstr("binary16"));
  EXPECT_FALSE(fs::exists(path("model.gguf")));
  const ExportReport report =
      export_run("run", ExportFormat::kGguf, "model.gguf", {.allow_inexact = true});
  EXPECT_GT(report.largest_relative_error, 0.0);
  EXPECT_LE(report.largest_relative_error, 1.0 / 2048);
  export_run("run", ExportFormat::kTorchAO, "ao");  // float32 scales are exact there
}

class TiedExportTest : public ExportTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(TiedExportTest, AQuantizedHeadIsExportedFromTheCheckpoint) {
  const auto trainer = converted("run", {std::string("--qat.tied_embedding=") + GetParam(),
                                         "--qat.modules_to_not_convert=[]"});
  for (const auto& [format, name] :
       {std::pair(ExportFormat::kCompressedTensors, "ct"), {ExportFormat::kTorchAO, "ao"}}) {
    EXPECT_EQ(export_run("run", format, name).quantized_linears, 15);
    EXPECT_TRUE(logits_of(name).equal(logits(trainer->model()))) << name;
  }
  export_run("run", ExportFormat::kGguf, "model.gguf");
  const io::GgufFile file(path("model.gguf"));
  const bool both = std::string(GetParam()) == "both";
  EXPECT_EQ(file.contains("output.weight"), !both) << "one weight is stored once";
  EXPECT_EQ(file.at("token_embd.weight").type->name, both ? "Q4_0" : "Q8_0");
}

INSTANTIATE_TEST_SUITE_P(Rules, TiedExportTest, ::testing::Values("untie", "both"));

class Int8ExportTest : public ExportTest {
 protected:
  static models::DecoderLMImpl& decoder(const eval::LoadedModel& loaded) {
    return dynamic_cast<models::DecoderLMImpl&>(*loaded.model);
  }
  static double distance(const at::Tensor& actual, const at::Tensor& expected) {
    return (actual - expected).norm().item<double>() / expected.norm().item<double>();
  }
  /// The logits of a checkpoint whose int8 weights were dequantized when it was loaded.
  at::Tensor reference_logits(const std::string& name) const {
    const TrainedModel opened = open_trained_model(path(name));
    const auto model = models::load_model(*opened.checkpoint);
    if (opened.is_quantized) restore_quantization(*model, *opened.checkpoint);
    return inference_logits(*model);
  }
  static at::Tensor inference_logits(models::CausalLMImpl& model) {
    model.eval();
    return torch::cat({logits(model),
                       [&] {  // one token reads the codes, many their values
                         const torch::NoGradGuard no_grad;
                         return model.forward(torch::tensor({{7}}));
                       }()},
                      1);
  }
  ExportReport export_int8(const std::string& from, const std::string& to) const {
    return export_run(from, ExportFormat::kCompressedTensors, to,
                      {.embedding = EmbeddingStorage::kInt8, .pack_8da4w = true});
  }
};

TEST_F(Int8ExportTest, OneInt8TableServesLookUpsAndLogits) {
  converted("run");
  EXPECT_EQ(export_int8("run", "int8").embedding, "int8");
  export_run("run", ExportFormat::kGguf, "model.gguf");
  for (const char* name : {"int8", "model.gguf"}) {
    const auto loaded = eval::load_any_model(path(name));
    const auto& model = decoder(loaded);
    ASSERT_TRUE(model.model->embed_tokens->is_int8()) << name;
    EXPECT_EQ(model.lm_head->state(), nn::LinearState::kInt8);
    EXPECT_TRUE(model.has_tied_embeddings());
    const at::Tensor actual = inference_logits(*loaded.model);
    EXPECT_LT(distance(actual, reference_logits(name)), 1e-4) << name;

    const auto copy = std::dynamic_pointer_cast<models::DecoderLMImpl>(loaded.model->clone());
    EXPECT_TRUE(copy->has_tied_embeddings());
    EXPECT_FALSE(copy->lm_head->int8_weight.is_same(model.lm_head->int8_weight));
    EXPECT_TRUE(inference_logits(*copy).equal(actual));
    EXPECT_EQ(loaded.model->make_cache(1, 4).bytes(), copy->make_cache(1, 4).bytes());
  }
}

TEST_F(Int8ExportTest, AnUntiedHeadIsInt8AsWell) {
  converted("run", {"--qat.tied_embedding=untie", "--qat.modules_to_not_convert=[]"});
  export_run("run", ExportFormat::kHuggingFace, "untied");
  const SpecQATQuantizer ptq({nn::Scheme::k4w, 32, at::kBFloat16, nn::WeightGrid::kSymmetric});
  const TrainedModel untied = open_trained_model(path("untied"));
  const auto source = export_source(untied, ptq);
  export_model(*source, ExportFormat::kCompressedTensors, path("int8"),
               {.embedding = EmbeddingStorage::kInt8});
  export_model(*source, ExportFormat::kGguf, path("model.gguf"));
  for (const char* name : {"int8", "model.gguf"}) {
    const auto loaded = eval::load_any_model(path(name));
    const auto& model = decoder(loaded);
    EXPECT_FALSE(model.has_tied_embeddings());
    EXPECT_TRUE(model.model->embed_tokens->is_int8());
    EXPECT_EQ(model.lm_head->state(), nn::LinearState::kInt8);
    EXPECT_LT(distance(inference_logits(*loaded.model), reference_logits(name)), 1e-4) << name;
  }
}

TEST_F(Int8ExportTest, TheIntegersPassThrough) {
  converted("run");
  export_int8("run", "int8");
  export_int8("int8", "again");
  EXPECT_EQ(bytes("again/model.safetensors"), bytes("int8/model.safetensors"));
  const auto loaded = eval::load_any_model(path("int8"));
  save_quantized(*loaded.model, loaded.model->config_json(), path("saved"),
                 loaded.checkpoint.get());
  EXPECT_EQ(bytes("saved/model.safetensors"), bytes("int8/model.safetensors"));

  export_run("int8", ExportFormat::kGguf, "model.gguf");
  const auto gguf = io::open_checkpoint(path("model.gguf"));
  const auto in_gguf = to_int8_weight(*gguf->read_int8("model.embed_tokens.weight"));
  const nn::Int8Weight& in_memory = decoder(loaded).model->embed_tokens->int8_weight;
  EXPECT_TRUE(in_gguf.codes.equal(in_memory.codes));
  EXPECT_TRUE(in_gguf.dequantize(at::kFloat).equal(in_memory.dequantize(at::kFloat)));

  const SpecQATQuantizer ptq({nn::Scheme::k4w, 32, at::kBFloat16, nn::WeightGrid::kSymmetric});
  export_model(*export_source(open_trained_model(path("model.gguf")), ptq),
               ExportFormat::kCompressedTensors, path("back"),
               {.embedding = EmbeddingStorage::kInt8});
  const auto back = eval::load_any_model(path("back"));
  EXPECT_TRUE(decoder(back).model->embed_tokens->int8_weight.codes.equal(in_memory.codes));
}

TEST_F(Int8ExportTest, OtherReadersGetFloatingPointNumbers) {
  converted("run");
  export_int8("run", "int8");
  EXPECT_EQ(export_run("int8", ExportFormat::kTorchAO, "ao").embedding, "unquantized");
  EXPECT_TRUE(reference_logits("ao").equal(reference_logits("int8")));
  EXPECT_THAT(message_of([&] {
                export_run("int8", ExportFormat::kTorchAO, "none",
                           {.embedding = EmbeddingStorage::kInt8});
              }),
              HasSubstr("no place for an int8 embedding"));
}

TEST_F(Int8ExportTest, ScalesAreExactInBinary16WhereItHasTheirBits) {
  const at::Tensor weight =
      torch::ones({4, 64}).mul(torch::tensor({{1.0f}, {0.0f}, {1e-5f}, {3.0f}}));
  const nn::Int8Weight stored = quantize_int8(weight);
  EXPECT_TRUE(stored.scales.to(at::kHalf)
                  .to(at::kFloat)
                  .eq(stored.scales)
                  .flatten()
                  .equal(torch::tensor({true, true, false, true})));
  EXPECT_LT((stored.dequantize(at::kFloat) - weight)
                .abs()
                .div(weight.abs().clamp_min(1e-9))
                .max()
                .item<float>(),
            1.0f / 250);
}

TEST_F(Int8ExportTest, TrainsFromTheValuesAndSavesThem) {
  converted("run");
  export_run("run", ExportFormat::kGguf, "model.gguf");
  const auto gguf = io::open_checkpoint(path("model.gguf"));
  const auto model = models::load_model(*gguf);
  const auto& decoder = dynamic_cast<models::DecoderLMImpl&>(*model);
  EXPECT_TRUE(decoder.model->embed_tokens->weight.equal(
      to_int8_weight(*gguf->read_int8("model.embed_tokens.weight")).dequantize(at::kFloat)));
  model->forward(torch::arange(0, 40).unsqueeze(0)).sum().backward();
  EXPECT_TRUE(decoder.model->embed_tokens->weight.grad().defined());
  const auto inference = eval::load_any_model(path("model.gguf"));
  EXPECT_THAT(message_of([&] { models::save_checkpoint(*inference.model, path("none")); }),
              HasSubstr("embed_tokens is quantized"));
}

TEST_F(ExportTest, ShardsHoldWhatOneFileHolds) {
  converted("run");
  export_run("run", ExportFormat::kTorchAO, "one");
  export_run("run", ExportFormat::kTorchAO, "many", {.max_shard_bytes = 20'000});
  EXPECT_TRUE(fs::exists(path("many/model.safetensors.index.json")));
  EXPECT_TRUE(logits_of("one").equal(logits_of("many")));
}

TEST_F(ExportTest, GgufHoldsTheTokenizer) {
  converted("run");
  export_run("run", ExportFormat::kGguf, "model.gguf");
  const auto gguf = io::open_checkpoint(path("model.gguf"));
  const auto plain = io::open_checkpoint(model_path());
  EXPECT_EQ(gguf->chat_template(), plain->chat_template());
  const auto a = text::Tokenizer::from_json(gguf->tokenizer_json(), "gguf");
  const auto b = text::Tokenizer::from_json(plain->tokenizer_json(), "plain");
  for (const char* sentence :
       {"<|im_start|>user\nSay it 12 times\n\n kiwi<|im_end|>", "caf\xc3\xa9"}) {
    EXPECT_EQ(a.encode_ids(sentence, false), b.encode_ids(sentence, false)) << sentence;
  }
}

TEST_F(ExportTest, DamagedFilesAreNoticed) {
  const auto trainer = converted("run");
  const at::Tensor expected = logits(trainer->model());
  export_run("run", ExportFormat::kTorchAO, "ao");
  const fs::path file = path("ao/model.safetensors");
  const std::string whole = bytes("ao/model.safetensors");
  fs::resize_file(file, whole.size() - 1);
  EXPECT_THAT(message_of([&] { logits_of("ao"); }), HasSubstr("truncated"));

  // A code or a scale that is another changes the model: nothing is normalized away.
  std::ofstream(file, std::ios::binary) << whole;
  size_t offset_of[2];
  {
    const io::SafetensorsFile stored(file);
    const std::string linear = "model.layers.0.mlp.up_proj._weight_";
    const auto* end = stored.at(stored.names().back()).bytes.data() +
                      stored.at(stored.names().back()).bytes.size();
    for (const size_t i : {0, 1}) {
      const auto bytes = stored.at(linear + (i == 0 ? "qdata" : "scale")).bytes;
      offset_of[i] = whole.size() - static_cast<size_t>(end - bytes.data());
    }
  }
  for (const size_t offset : offset_of) {
    std::string damaged = whole;
    damaged[offset] = static_cast<char>(damaged[offset] ^ 0x01);
    std::ofstream(file, std::ios::binary) << damaged;
    EXPECT_FALSE(logits_of("ao").equal(expected)) << offset;
  }
}

TEST_F(ExportTest, NothingIsOverwritten) {
  converted("run");
  export_run("run", ExportFormat::kGguf, "model.gguf");
  const std::string before = bytes("model.gguf");
  EXPECT_THAT(message_of([&] { export_run("run", ExportFormat::kGguf, "model.gguf"); }),
              HasSubstr("exists already"));
  EXPECT_EQ(bytes("model.gguf"), before);
}

}  // namespace
}  // namespace nibble::train
