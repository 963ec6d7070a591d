#pragma once

#include <nibble/core/error.h>
#include <nibble/data/conversation.h>
#include <nibble/data/json_rows.h>
#include <nibble/data/row_encoder.h>
#include <nibble/io/file.h>

#include <CLI/CLI.hpp>

#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace nibble::apps {

/// The flags that say what a model is asked.
struct PromptFlags {
  std::vector<std::string> texts;
  std::string file;
  std::optional<std::string> system;
  bool raw = false;

  void add(CLI::App& app) {
    app.add_option("--prompt", texts, "the user's message; several are answered as a batch")
        ->allow_extra_args(false);
    app.add_option(
        "--prompts", file,
        "a file of prompts: .jsonl or .json with \"prompt\" or \"messages\" in each row, "
        "else one a line");
    CLI::Option* system_option = app.add_option("--system", system, "the system message");
    app.add_flag("--raw", raw, "no chat template: the prompt is continued")
        ->excludes(system_option);
  }

  bool any() const { return !texts.empty() || !file.empty(); }
  /// One prompt given as such: its answer is streamed.
  bool single() const { return file.empty() && texts.size() == 1; }

  /// All of them, those of the file last.
  std::vector<std::vector<int64_t>> encode(const data::TextFormat& format) const {
    std::vector<std::vector<int64_t>> prompts;
    for (const std::string& text : texts) prompts.push_back(encode_text(format, text));
    if (file.empty()) return prompts;
    const std::string extension = std::filesystem::path(file).extension().string();
    if (extension == ".jsonl" || extension == ".json" || extension == ".ndjson") {
      for (const data::JsonRow& row : data::read_json_rows(file)) {
        prompts.push_back(encode_row(format, row));
      }
    } else {
      std::istringstream lines(io::read_text_file(file));
      for (std::string line; std::getline(lines, line);) {
        if (!line.empty()) prompts.push_back(encode_text(format, line));
      }
    }
    NIBBLE_CHECK(!prompts.empty(), "--prompts ", file, " holds no prompt");
    return prompts;
  }

 private:
  std::vector<int64_t> encode_text(const data::TextFormat& format, const std::string& text) const {
    if (raw) return format.tokenizer.encode_ids(text, /*add_special_tokens=*/true);
    data::Conversation conversation = data::to_conversation(text);
    add_system(conversation);
    return data::encode_prompt(format, conversation);
  }

  std::vector<int64_t> encode_row(const data::TextFormat& format, const data::JsonRow& row) const {
    if (const auto found = row.value.find("prompt"); found != row.value.end()) {
      NIBBLE_CHECK(found->is_string(), row.origin, ": \"prompt\" is text, found ",
                   found->type_name());
      return encode_text(format, *found);
    }
    NIBBLE_CHECK(!raw, row.origin, ": --raw needs the text column \"prompt\"");
    data::Conversation conversation = data::read_conversation(row);
    add_system(conversation);
    return data::encode_prompt(format, conversation);
  }

  void add_system(data::Conversation& conversation) const {
    auto& messages = conversation.messages;
    if (!system || messages.front()["role"] == "system") return;
    messages.insert(messages.begin(),
                    nlohmann::ordered_json{{"role", "system"}, {"content", *system}});
  }
};

}  // namespace nibble::apps
