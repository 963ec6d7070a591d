#pragma once

#include <nibble/data/row_encoder.h>

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble::testing {

/// One token a byte (id = byte), ids 256.. for merges and the ChatML tokens.
class TinyText {
 public:
  static constexpr int64_t kNewlines = 256;  ///< "\n\n", the only merge
  static constexpr int64_t kStart = 257;     ///< <|im_start|>
  static constexpr int64_t kEnd = 258;       ///< <|im_end|>

  static data::TextFormat format(std::string_view chat_template) {
    data::TextFormat format{text::Tokenizer::from_json(tokenizer_json())};
    if (!chat_template.empty()) format.chat_template.emplace(chat_template);
    format.template_variables = {{"eos_token", "<|im_end|>"}};
    format.eos_id = kEnd;
    format.pad_id = 0;
    return format;
  }

  static std::string tokenizer_json() {
    nlohmann::json vocab;
    for (int byte = 0; byte < 256; ++byte) {
      vocab[byte_name(byte)] = byte;
    }
    const std::string newline = byte_name('\n');
    vocab[newline + newline] = kNewlines;
    const auto special = [](int64_t id, const char* content) {
      return nlohmann::json{{"id", id},        {"content", content}, {"single_word", false},
                            {"lstrip", false}, {"rstrip", false},    {"normalized", false},
                            {"special", true}};
    };
    const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                       {"add_prefix_space", false},
                                       {"trim_offsets", true},
                                       {"use_regex", true}};
    return nlohmann::json{
        {"version", "1.0"},
        {"truncation", nullptr},
        {"padding", nullptr},
        {"added_tokens", {special(kStart, "<|im_start|>"), special(kEnd, "<|im_end|>")}},
        {"normalizer", nullptr},
        {"pre_tokenizer", byte_level},
        {"post_processor", nullptr},
        {"decoder", byte_level},
        {"model",
         {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", vocab},
          {"merges", {newline + " " + newline}}}}}
        .dump();
  }

 private:
  /// GPT-2's printable stand-in for a byte, as UTF-8.
  static std::string byte_name(int byte) {
    const auto printable = [](int value) {
      return (value >= 33 && value <= 126) || (value >= 161 && value <= 172) || value >= 174;
    };
    int code_point = byte;
    if (!printable(byte)) {
      code_point = 256;
      for (int other = 0; other < byte; ++other) {
        code_point += printable(other) ? 0 : 1;
      }
    }
    if (code_point < 128) return std::string(1, static_cast<char>(code_point));
    return {static_cast<char>(0xc0 | (code_point >> 6)),
            static_cast<char>(0x80 | (code_point & 0x3f))};
  }
};

}  // namespace nibble::testing
