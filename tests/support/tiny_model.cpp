#include "support/tiny_model.h"

#include <nibble/io/file.h>
#include <nibble/io/json.h>
#include <nibble/models/registry.h>
#include <nibble/models/saving.h>

#include <nlohmann/json.hpp>

#include <array>
#include <string>

#include "unit/data/tiny_text_format.h"

namespace nibble::testing {
namespace {

constexpr const char* kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Larger than the usual 0.02, so that a random model has distinct logits.
constexpr double kDeviation = 0.1;

nlohmann::json tiny_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", kTinyVocabulary},
          {"hidden_size", kTinyHidden},
          {"intermediate_size", 2 * kTinyHidden},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 256},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", true},
          {"eos_token_id", TinyText::kEnd},
          {"torch_dtype", "float32"}};
}

}  // namespace

void write_tiny_model(const std::filesystem::path& path, uint64_t seed) {
  const auto model = models::make_model(tiny_config(), "config.json",
                                        models::random_parameters(kDeviation, seed, at::kFloat));
  models::save_checkpoint(*model, path);
  io::write_file_atomically(path / "tokenizer.json", TinyText::tokenizer_json());
  io::write_json_file(path / "tokenizer_config.json",
                      {{"eos_token", "<|im_end|>"}, {"chat_template", kChatMl}});
}

void write_tiny_rows(const std::filesystem::path& path, int64_t rows, int64_t first) {
  constexpr std::array kWords = {"kiwi", "plum", "fig", "quince", "lime", "pear", "date"};
  std::string text;
  for (int64_t row = first; row < first + rows; ++row) {
    const std::string word = kWords[static_cast<size_t>(row) % kWords.size()];
    const nlohmann::ordered_json line = {
        {"instruction", "Say it " + std::to_string(row) + " times"},
        {"input", word},
        {"output", word + " " + word}};
    text += line.dump() + "\n";
  }
  io::write_file_atomically(path, text);
}

}  // namespace nibble::testing
