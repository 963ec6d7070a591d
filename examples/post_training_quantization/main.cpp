// Loads a published model, makes its Linears int4 without training, and asks it something.

#include <nibble/nibble.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: example_post_training_quantization MODEL (directory or GGUF file)\n";
    return 2;
  }
  // [deploy]
  auto model = nibble::load_model_from_checkpoint(argv[1]);
  auto report =
      nibble::quantize_(model, nibble::int8_dynamic_activation_int4_weight(/*group_size=*/32));
  model->eval();
  // [deploy]
  std::cout << report.to_string() << "\n";

  const auto checkpoint = nibble::io::open_checkpoint(argv[1]);
  const auto format = nibble::data::read_text_format(*checkpoint);
  const std::vector<int64_t> prompt =
      format.tokenizer.encode_ids("The capital of France is", /*add_special_tokens=*/false);
  nibble::models::GenerationOptions options;
  options.max_new_tokens = 12;
  const auto answer = nibble::models::generate(*model, prompt, options);
  std::cout << "The capital of France is"
            << format.tokenizer.decode(answer.tokens, /*skip_special_tokens=*/true) << std::endl;
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << std::endl;
  return 1;
}
