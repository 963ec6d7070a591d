#include <nibble/core/error.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/models/loading.h>
#include <nibble/models/saving.h>
#include <nibble/nn/parameters.h>
#include <nibble/tensor_io/tensor_data.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>

#include "support/temp_dir.h"
#include "tiny_model.h"

namespace nibble::models {
namespace {

using nibble::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;
using testing::tiny_config;
using testing::tiny_model;
using testing::with;
using torch::Tensor;

using Tensors = std::map<std::string, Tensor>;

Tensors tensors_of(const CausalLMImpl& model) {
  Tensors tensors;
  for (const auto& [name, parameter] : nn::unique_named_parameters(model)) {
    tensors[name] = parameter.detach();
  }
  return tensors;
}

void write(const std::filesystem::path& folder, const nlohmann::json& config,
           const Tensors& tensors) {
  std::filesystem::create_directories(folder);
  io::write_json_file(folder / "config.json", config);
  std::vector<io::NamedTensor> named;
  for (const auto& [name, tensor] : tensors)
    named.push_back({name, tensor_io::to_tensor_data(tensor)});
  io::write_safetensors(folder / "model.safetensors", named);
}

void expect_equal_parameters(const CausalLMImpl& actual, const CausalLMImpl& expected) {
  const Tensors left = tensors_of(actual);
  const Tensors right = tensors_of(expected);
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [name, tensor] : right) EXPECT_TRUE(torch::equal(left.at(name), tensor)) << name;
}

/// What loading says about the tiny model's checkpoint after `damage`.
std::string load_error(const std::function<void(Tensors&)>& damage) {
  const TempDir folder;
  Tensors tensors = tensors_of(*tiny_model());
  damage(tensors);
  write(folder.path(), tiny_config(), tensors);
  try {
    load_model_from_checkpoint(folder.path());
  } catch (const Error& error) {
    return error.what();
  }
  return "loaded";
}

TEST(Loading, DevicesAreNamedAsInPython) {
  const bool has_cuda = torch::cuda::is_available();
  EXPECT_EQ(device_from("cpu"), at::Device(at::kCPU));
  EXPECT_EQ(device_from("auto").is_cuda(), has_cuda);
  if (has_cuda) {
    EXPECT_EQ(device_from("cuda"), at::Device(at::kCUDA, 0));
    EXPECT_EQ(device_from("cuda:0"), at::Device(at::kCUDA, 0));
  } else {
    EXPECT_THAT([] { device_from("cuda"); }, ThrowsMessage<Error>(HasSubstr("device cuda is not")));
  }
  EXPECT_THAT([] { device_from("cuda:99"); },
              ThrowsMessage<Error>(HasSubstr("device cuda:99 is not there: LibTorch sees")));
  for (const std::string name : {"gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:99999999999"}) {
    EXPECT_THAT([&] { device_from(name); },
                ThrowsMessage<Error>(AllOf(HasSubstr("\"" + name + "\""),
                                           HasSubstr("auto, cpu, cuda, cuda:N"))));
  }
}

TEST(Loading, SaveAndLoadGiveTheSameBits) {
  for (const bool tied : {true, false}) {
    const TempDir folder;
    const auto model = tiny_model(with(tiny_config(), "tie_word_embeddings", tied));
    save_checkpoint(*model, folder / "saved");
    const auto loaded = load_model_from_checkpoint(folder / "saved");
    expect_equal_parameters(*loaded, *model);
    EXPECT_EQ(loaded->has_tied_embeddings(), tied);
    EXPECT_TRUE(loaded->is_training());
    EXPECT_EQ(loaded->config_json(), model->config_json());
  }
}

TEST(Loading, ConvertsTheStoredDtype) {
  const TempDir folder;
  const auto model = tiny_model();
  save_checkpoint(*model, folder / "bf16", {.dtype = torch::kBFloat16});
  EXPECT_EQ(io::read_json_file(folder / "bf16/config.json")["torch_dtype"], "bfloat16");
  const auto loaded = load_model_from_checkpoint(folder / "bf16");
  model->to(torch::kBFloat16);
  model->to(torch::kFloat);
  expect_equal_parameters(*loaded, *model);
  const auto half = load_model_from_checkpoint(folder / "bf16", {.dtype = torch::kHalf});
  EXPECT_EQ(half->parameters().front().scalar_type(), torch::kHalf);
  EXPECT_THROW(load_model_from_checkpoint(folder / "bf16", {.dtype = torch::kInt}), Error);
}

TEST(Loading, ALoadedModelDoesNotWriteIntoTheFile) {
  const TempDir folder;
  save_checkpoint(*tiny_model(), folder / "saved");
  {
    const torch::NoGradGuard no_grad;
    const auto changed = load_model_from_checkpoint(folder / "saved");
    for (const auto& parameter : changed->parameters()) parameter.add_(1);
  }
  expect_equal_parameters(*load_model_from_checkpoint(folder / "saved"), *tiny_model());
}

TEST(Loading, ATiedHeadMayBeStoredTwiceWithTheSameValues) {
  EXPECT_EQ(load_error([](Tensors& tensors) {
              tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone();
            }),
            "loaded");
  EXPECT_THAT(load_error([](Tensors& tensors) {
                tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1;
              }),
              AllOf(HasSubstr("tie_word_embeddings"), HasSubstr("lm_head.weight")));
}

TEST(Loading, ATiedEmbeddingMayBeStoredAsTheHeadOnly) {
  const auto rename = [](Tensors& tensors) {
    auto node = tensors.extract("model.embed_tokens.weight");
    node.key() = "lm_head.weight";
    tensors.insert(std::move(node));
  };
  EXPECT_EQ(load_error(rename), "loaded");
  const TempDir folder;
  const auto untied = tiny_model(with(tiny_config(), "tie_word_embeddings", false));
  Tensors tensors = tensors_of(*untied);
  tensors.erase("model.embed_tokens.weight");
  write(folder.path(), untied->config_json(), tensors);
  EXPECT_THAT([&] { load_model_from_checkpoint(folder.path()); },
              ThrowsMessage<Error>(HasSubstr("missing tensors:\n  model.embed_tokens.weight")));
}

TEST(Loading, TheDecoderMayHaveAnotherPrefix) {
  const auto model = tiny_model(with(tiny_config(), "tie_word_embeddings", false));
  struct Prefix {
    std::string decoder, head;
  };
  for (const auto& [decoder, head] :
       {Prefix{"", ""}, Prefix{"language_model.model.", "language_model."},
        Prefix{"model.language_model.", ""}, Prefix{"_orig_mod.model.", "_orig_mod."}}) {
    Tensors renamed;
    for (const auto& [name, tensor] : tensors_of(*model)) {
      renamed[name.starts_with("model.") ? decoder + name.substr(6) : head + name] = tensor;
    }
    const TempDir folder;
    write(folder.path(), model->config_json(), renamed);
    expect_equal_parameters(*load_model_from_checkpoint(folder.path()), *model);
    renamed.erase(decoder + "norm.weight");
    write(folder.path(), model->config_json(), renamed);
    EXPECT_THAT([&] { load_model_from_checkpoint(folder.path()); },
                ThrowsMessage<Error>(HasSubstr("missing tensors:\n  " + decoder + "norm.weight")));
  }
}

TEST(Loading, TwoModelsInOneCheckpointAreAnError) {
  EXPECT_THAT(load_error([](Tensors& tensors) {
                tensors["draft.layers.0.input_layernorm.weight"] = torch::ones({24});
              }),
              HasSubstr("holds several models"));
}

TEST(Loading, FindsAModelOfTheHuggingFaceCacheByItsName) {
  const TempDir cache;
  const std::string commit(40, 'a');
  const auto repository = cache / "models--org--tiny";
  save_checkpoint(*tiny_model(), repository / "snapshots" / commit);
  std::filesystem::create_directories(repository / "refs");
  std::ofstream(repository / "refs/main") << commit;
  ::setenv("HF_HUB_CACHE", cache.path().c_str(), 1);
  expect_equal_parameters(*load_model_from_checkpoint("org/tiny"), *tiny_model());
  ::unsetenv("HF_HUB_CACHE");
}

TEST(Loading, IgnoresTheFrequenciesOfOldCheckpoints) {
  EXPECT_EQ(load_error([](Tensors& tensors) {
              tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch::ones({2});
            }),
            "loaded");
}

TEST(Loading, NamesMissingAndSurplusTensors) {
  EXPECT_THAT(load_error([](Tensors& tensors) {
                tensors.erase("model.norm.weight");
                tensors["model.layers.2.mlp.up_proj.weight"] = torch::ones({40, 24});
              }),
              AllOf(HasSubstr("missing tensors:\n  model.norm.weight"),
                    HasSubstr("does not have:\n  model.layers.2.mlp.up_proj.weight")));
  EXPECT_THAT(load_error([](Tensors& tensors) { tensors.erase(tensors.begin(), tensors.end()); }),
              HasSubstr("and 12 more"));
}

TEST(Loading, NamesAWrongShapeAndAWrongDtype) {
  EXPECT_THAT(load_error([](Tensors& tensors) {
                auto& tensor = tensors["model.layers.1.self_attn.q_proj.weight"];
                tensor = tensor.slice(0, 0, 20);
              }),
              AllOf(HasSubstr("model.layers.1.self_attn.q_proj.weight"), HasSubstr("[20, 24]"),
                    HasSubstr("[24, 24]")));
  EXPECT_THAT(load_error([](Tensors& tensors) {
                tensors["model.norm.weight"] = torch::ones({24}, torch::kInt);
              }),
              AllOf(HasSubstr("model.norm.weight"), HasSubstr("floating point")));
}

TEST(Loading, ATensorOverFileDataIsNotACopy) {
  const auto buffer = std::make_shared<std::vector<float>>(6, 2.0f);
  io::TensorData data{.dtype = io::DType::kF32,
                      .shape = {2, 3},
                      .bytes = std::as_bytes(std::span(*buffer)),
                      .owner = buffer};
  Tensor tensor = tensor_io::to_tensor(data);
  EXPECT_EQ(tensor.const_data_ptr(), buffer->data());
  data.owner.reset();
  EXPECT_EQ(buffer.use_count(), 2);
  tensor.reset();
  EXPECT_EQ(buffer.use_count(), 1);
  EXPECT_THROW(tensor_io::to_tensor_data(torch::zeros({2}, torch::kComplexFloat)), Error);
}

TEST(Saving, CarriesTheTextSideUnchanged) {
  const TempDir folder;
  write(folder / "source", tiny_config(), tensors_of(*tiny_model()));
  const std::map<std::string, std::string> files = {
      {"tokenizer.json", "{\"model\":  {}}\n"},
      {"tokenizer_config.json", "{\"eos_token\": {\"content\": \"</s>\"}}"},
      {"chat_template.jinja", "{{ messages }}\n\n"},
      {"generation_config.json", "{ }"}};
  for (const auto& [name, text] : files) std::ofstream(folder / "source" / name) << text;
  const auto source = io::open_checkpoint(folder / "source");
  save_checkpoint(*load_model(*source), folder / "saved", {.source = source.get()});
  for (const auto& [name, text] : files) {
    EXPECT_EQ(io::read_text_file(folder / "saved" / name), text) << name;
  }
}

TEST(Saving, TouchesNoExistingDirectory) {
  const TempDir folder;
  std::filesystem::create_directories(folder / "saved");
  save_checkpoint(*tiny_model(), folder / "saved");  // an empty one is taken
  std::ofstream(folder / "saved/mine.txt") << "mine";
  EXPECT_THROW(save_checkpoint(*tiny_model(), folder / "saved"), Error);
  EXPECT_EQ(io::read_text_file(folder / "saved/mine.txt"), "mine");
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++entries;
  }
  EXPECT_EQ(entries, 1u) << "a temporary directory is left";
}

TEST(Saving, APreparedModelIsStoredPlainAndAQuantizedOneRefused) {
  const TempDir folder;
  const auto model = tiny_model();
  auto& linear = model->model->layers[1]->as<DecoderLayerImpl>()->mlp->gate_proj;
  linear->prepare({.group_size = 8});
  save_checkpoint(*model, folder / "prepared");
  expect_equal_parameters(*load_model_from_checkpoint(folder / "prepared"), *tiny_model());
  linear->convert();
  try {
    save_checkpoint(*model, folder / "quantized");
    FAIL() << "a quantized model was saved as a plain one";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.layers.1.mlp.gate_proj is quantized"));
  }
}

TEST(Saving, AnUntiedHeadUnderATiedConfigurationIsStoredAsUntied) {
  const TempDir folder;
  const auto model = tiny_model();
  model->lm_head = model->replace_module(
      "lm_head", nn::Linear(model->lm_head->weight.detach().clone() * 2, Tensor()));
  save_checkpoint(*model, folder / "saved");
  const auto loaded = load_model_from_checkpoint(folder / "saved");
  EXPECT_FALSE(loaded->has_tied_embeddings());
  expect_equal_parameters(*loaded, *model);
}

}  // namespace
}  // namespace nibble::models
