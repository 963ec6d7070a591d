#include "support/mutation.h"

#include <nibble/core/error.h>
#include <nibble/text/chat_template.h>
#include <nibble/text/tokenizer.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "compressed_file.h"
#include "tiny_tokenizer.h"

namespace nibble::text {
namespace {

namespace fs = std::filesystem;
using nibble::testing::MutationTest;
using nibble::testing::Mutator;
using nibble::testing::refusal_of;
using nibble::testing::survive;
using Json = nlohmann::ordered_json;

fs::path truth_folder(const char* variable, const char* name) {
  const char* const folder = std::getenv(variable);
  return folder != nullptr ? fs::path(folder) : fs::path(NIBBLE_SOURCE_DIR "/../shared") / name;
}

// --- tokenizer.json ---------------------------------------------------------------------------

/// Gives the tokens that a TemplateProcessing adds their new ids.
void renumber(nlohmann::json& processor, const std::map<std::string, int64_t>& ids) {
  if (!processor.is_object()) return;
  if (processor.contains("processors")) {
    for (nlohmann::json& inner : processor["processors"]) renumber(inner, ids);
  }
  if (!processor.contains("special_tokens")) return;
  for (nlohmann::json& special : processor["special_tokens"]) {
    for (size_t i = 0; i < special.at("tokens").size(); ++i) {
      special["ids"][i] = ids.at(special["tokens"][i]);
    }
  }
}

/// The tokenizer with the components of the original, the single characters of its vocabulary and
/// the first of its merges: small enough to be parsed a thousand times.
nlohmann::json shrunk(nlohmann::json tokenizer) {
  constexpr size_t kMerges = 40;
  nlohmann::json& model = tokenizer.at("model");
  std::set<std::string> kept;
  nlohmann::json merges = nlohmann::json::array();
  for (const nlohmann::json& merge : model.at("merges")) {
    const std::string line = merge.is_string() ? merge.get<std::string>() : "";
    const size_t blank = line.find(' ');
    const std::string left =
        merge.is_string() ? line.substr(0, blank) : merge[0].get<std::string>();
    const std::string right =
        merge.is_string() ? line.substr(blank + 1) : merge[1].get<std::string>();
    kept.insert({left, right, left + right});
    merges.push_back(merge);
    if (merges.size() == kMerges) break;
  }
  // The reference numbers added tokens behind the vocabulary, so the ids move together.
  std::map<int64_t, std::string> by_id;
  for (const auto& item : model.at("vocab").items()) {
    const bool byte = item.key().size() <= 2 || item.key().starts_with("<0x");
    if (byte || kept.contains(item.key())) by_id[item.value()] = item.key();
  }
  for (const nlohmann::json& added : tokenizer.at("added_tokens")) {
    const auto entry = model.at("vocab").find(added.at("content").get<std::string>());
    if (entry != model.at("vocab").end()) by_id[*entry] = added.at("content");
  }
  nlohmann::json vocabulary = nlohmann::json::object();
  for (const auto& [id, token] : by_id) vocabulary[token] = vocabulary.size();
  size_t next = vocabulary.size();
  std::map<std::string, int64_t> added_ids;
  for (nlohmann::json& added : tokenizer.at("added_tokens")) {
    const auto entry = vocabulary.find(added.at("content").get<std::string>());
    added["id"] = entry != vocabulary.end() ? entry->get<size_t>() : next++;
    added_ids[added["content"]] = added["id"];
  }
  renumber(tokenizer["post_processor"], added_ids);
  model["vocab"] = std::move(vocabulary);
  model["merges"] = std::move(merges);
  return tokenizer;
}

std::vector<std::string> tokenizers() {
  nlohmann::json tiny = tiny_tokenizer({"a", "b", "ab", "<s>"}, {"a b"});
  tiny["added_tokens"] = {added_token(259, "<s>")};
  std::vector<std::string> result = {tiny.dump()};
  const fs::path folder = truth_folder("NIBBLE_TOKENIZER_DIR", "tokenizers");
  if (!fs::is_directory(folder)) return result;
  std::set<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    for (const char* name : {"tokenizer.json", "tokenizer.json.gz"}) {
      if (fs::exists(entry.path() / name)) paths.insert(entry.path() / name);
    }
  }
  for (const fs::path& path : paths) {
    result.push_back(shrunk(nlohmann::json::parse(read_maybe_compressed(path))).dump());
  }
  return result;
}

/// Every node of a document, and the way to it.
void collect_nodes(nlohmann::json& node, std::vector<nlohmann::json*>& nodes) {
  nodes.push_back(&node);
  // A vocabulary is thousands of like entries: a few stand for it.
  size_t left = 40;
  if (node.is_structured()) {
    for (nlohmann::json& child : node) {
      if (left-- == 0) break;
      collect_nodes(child, nodes);
    }
  }
}

/// Replaces, removes and moves whole values: damage that still is JSON.
std::string damage_values(const std::string& text, Mutator& mutator) {
  nlohmann::json document = nlohmann::json::parse(text);
  for (size_t times = 1 + mutator.below(3); times > 0; --times) {
    std::vector<nlohmann::json*> nodes;
    collect_nodes(document, nodes);
    nlohmann::json& target = *nodes[mutator.below(nodes.size())];
    const nlohmann::json other = *nodes[mutator.below(nodes.size())];
    const std::vector<nlohmann::json> values = {nullptr,
                                                true,
                                                -1,
                                                0,
                                                4294967296,
                                                1.5,
                                                "",
                                                "Sequence",
                                                "ByteLevel",
                                                "\\p{L}+",
                                                "(a*)*b",
                                                "(?<=a+)b",
                                                "[",
                                                nlohmann::json::array(),
                                                nlohmann::json::object(),
                                                other,
                                                nlohmann::json::array({other, other})};
    if (target.is_structured() && !target.empty() && mutator.below(3) == 0) {
      target.erase(std::next(target.begin(), static_cast<ptrdiff_t>(mutator.below(
                                                 std::min<size_t>(target.size(), 40)))));
    } else {
      target = values[mutator.below(values.size())];
    }
  }
  return document.dump();
}

const std::string kText =
    "Hello  World's 123,456 \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80\xcc\x81\n\n\tab<s>abab "
    "\xff\xc3";

void use_tokenizer(const std::string& json) {
  const Tokenizer tokenizer = Tokenizer::from_json(json, "x.json");
  for (const bool special : {true, false}) {
    const std::vector<int64_t> ids = tokenizer.encode_ids(kText, special);
    tokenizer.decode(ids, !special);
  }
  const std::vector<int64_t> unknown = {-1, 0, tokenizer.vocab_size(), int64_t{1} << 40};
  tokenizer.decode(unknown, false);
}

/// The tables of Unicode classes and of PCRE2 do not depend on the file.
MutationTest tokenizer_test() {
  MutationTest test;
  test.originals = tokenizers();
  test.base_bytes = size_t{64} << 20;
  test.bytes_per_byte = 200;
  return test;
}

TEST(Mutation, OfTokenizerText) {
  MutationTest test = tokenizer_test();
  test.dictionary = {
      "\"type\":",        "\"Sequence\"", "\"Split\"", "\"Regex\"", "null",         "[", "{", "}",
      "\"content\":\"\"", "\\u0000",      "\xff",      "\"id\":",   "\"merges\":[", "(?"};
  test.mutations = 400;
  survive(test, use_tokenizer);
}

TEST(Mutation, OfTokenizerValues) {
  const MutationTest test = tokenizer_test();
  MutationTest damaged = test;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    Mutator mutator(seed);
    damaged.originals = {
        damage_values(test.originals[mutator.below(test.originals.size())], mutator)};
    refusal_of(test, damaged.originals[0], "values, seed " + std::to_string(seed), use_tokenizer);
    if (HasFailure()) return;
  }
}

TEST(Mutation, OfNestedTokenizerComponents) {
  const MutationTest test = tokenizer_test();
  for (const char* component : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    const std::string list = component == std::string("normalizer")      ? "normalizers"
                             : component == std::string("pre_tokenizer") ? "pretokenizers"
                             : component == std::string("decoder")       ? "decoders"
                                                                         : "processors";
    for (const int depth : {20, 60, 5000}) {
      std::string text = R"({"version":"1.0","added_tokens":[],"model":{"type":"BPE",)"
                         R"("byte_fallback":true,"vocab":{"a":0},"merges":[]},")";
      text += std::string(component) + "\":";
      for (int i = 0; i < depth; ++i) text += R"({"type":"Sequence",")" + list + "\":[";
      for (int i = 0; i < depth; ++i) text += "]}";
      text += "}";
      refusal_of(test, text, component, use_tokenizer);
    }
  }
}

// --- chat templates ---------------------------------------------------------------------------

/// The distinct templates of the truth folder, and one of our own.
std::vector<std::string> templates() {
  std::set<std::string> result = {
      "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
      "message['content'] | trim + '<|im_end|>' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"};
  std::ifstream file(truth_folder("NIBBLE_CHAT_DIR", "chat") / "cases.jsonl");
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) result.insert(Json::parse(line).at("template").get<std::string>());
  }
  return {result.begin(), result.end()};
}

void render_chat(const std::string& source) {
  static const Json messages = Json::parse(R"([
      {"role": "system", "content": "Be brief."}, {"role": "user", "content": "H\u00e9llo"},
      {"role": "assistant", "content": "Hi", "tool_calls": [{"id": "1", "type": "function",
       "function": {"name": "f", "arguments": {"x": [1, 2.5, null, true]}}}]},
      {"role": "tool", "content": "4", "name": "f"}, {"role": "user", "content": "Why?"}])");
  static const Json tools = Json::parse(
      R"([{"type": "function", "function": {"name": "f", "description": "adds",
           "parameters": {"type": "object", "properties": {"x": {"type": "array"}}}}}])");
  static const Json variables = {
      {"bos_token", "<s>"}, {"eos_token", "</s>"}, {"date_string", "26 Jul 2024"}};
  const ChatTemplate chat_template(source);
  chat_template.render(messages, tools, true, variables);
}

/// A render that refuses (raise_exception) is fine for an original.
void render_or_refuse(const std::string& source) {
  const ChatTemplate parsed(source);
  try {
    render_chat(source);
  } catch (const Error&) {
  }
}

/// The bounds of a render are the interpreter's own (src/text/jinja_budget.h), not the file's.
MutationTest template_test() {
  MutationTest test;
  test.originals = templates();
  test.base_bytes = size_t{1500} << 20;
  test.seconds = 20;
  return test;
}

const std::vector<std::string> kJinjaWords = {"{%",
                                              "%}",
                                              "{{",
                                              "}}",
                                              "{#",
                                              "#}",
                                              "{%-",
                                              "-%}",
                                              " for x in messages ",
                                              "{% endfor %}",
                                              "{% if true %}",
                                              "{% endif %}",
                                              "{% set x = messages %}",
                                              "{% macro f(x) %}",
                                              "{{ f(f) }}",
                                              "{% endmacro %}",
                                              "{% generation %}",
                                              "{% endgeneration %}",
                                              "| tojson",
                                              "| length",
                                              "|join(',')",
                                              "| map(attribute='role') | list",
                                              " range(99999) ",
                                              " range(1000000000) ",
                                              "[::-1]",
                                              "[0:2**9]",
                                              "* 1000000",
                                              "'a' * 99999999",
                                              "~ messages",
                                              " is defined",
                                              " not ",
                                              " in ",
                                              "(",
                                              ")",
                                              "[",
                                              "]",
                                              "namespace(x=1)",
                                              "raise_exception('no')",
                                              "strftime_now('%Y')",
                                              "loop.index0 // 0",
                                              "-9223372036854775808",
                                              " % 0",
                                              "{% set ns.x = ns %}",
                                              ".split('')",
                                              "'%s' % x",
                                              "|indent(9999)",
                                              "recursive",
                                              "{% break %}",
                                              "{% call f() %}",
                                              "{% raw %}",
                                              "cycler(1)",
                                              ".__class__",
                                              "x.x.x"};

TEST(Mutation, OfChatTemplates) {
  MutationTest test = template_test();
  test.dictionary = kJinjaWords;
  test.mutations = 2000;
  survive(test, render_or_refuse);
}

TEST(Mutation, OfDeeplyNestedChatTemplates) {
  struct Nest {
    const char* before;
    const char* open;
    const char* middle;
    const char* close;
    const char* after;
  };
  const std::vector<Nest> nests = {
      {"", "{% if 1 %}", "x", "{% endif %}", ""},
      {"", "{% for x in messages %}", "x", "{% endfor %}", ""},
      {"", "{% macro f() %}", "x", "{% endmacro %}", ""},
      {"", "{% generation %}", "x", "{% endgeneration %}", ""},
      {"", "{% set x %}", "x", "{% endset %}", ""},
      {"", "{% filter trim %}", "x", "{% endfilter %}", ""},
      {"{{ ", "(", "1", ")", " }}"},
      {"{{ ", "[", "1", "]", " }}"},
      {"{{ ", "{'a':", "1", "}", " }}"},
      {"{{ ", "not ", "1", "", " }}"},
      {"{{ ", "-", "1", "", " }}"},
      {"{{ ", "1 + ", "1", "", " }}"},
      {"{{ ", "1 ** ", "1", "", " }}"},
      {"{{ ", "'a' ~ ", "'b'", "", " }}"},
      {"{{ ", "1 if 1 else ", "1", "", " }}"},
      {"{{ ", "1 and ", "1", "", " }}"},
      {"{{ ", "1 < ", "2", "", " }}"},
      {"{{ messages", "[0]", "", "", " }}"},
      {"{{ messages", ".x", "", "", " }}"},
      {"{{ messages", "|list", "", "", " }}"},
      {"{{ messages", "()", "", "", " }}"},
      {"{{ f(", "f(", "1", ")", ") }}"},
      {"{% set x = [] %}", "{% set x = [x] %}", "{{ x }}", "", ""},
      {"{% set x = [1] %}", "{% set x = x + x %}", "{{ x }}", "", ""},
      {"{% set x = 'ab' %}", "{% set x = x ~ x %}", "{{ x }}", "", ""},
      {"{% if 0 %}", "{% elif 0 %}", "x", "", "{% endif %}"},
      {"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}", "{{ f(0) }}", "", "", ""},
      {"{% set ns = namespace() %}{% set ns.x = [ns] %}", "{{ ns.x }}", "", "", ""},
  };
  const MutationTest test = template_test();
  for (const Nest& nest : nests) {
    for (const int depth : {10, 250, 20000}) {
      std::string source = nest.before;
      for (int i = 0; i < depth; ++i) source += nest.open;
      source += nest.middle;
      for (int i = 0; i < depth; ++i) source += nest.close;
      source += nest.after;
      refusal_of(test, source, std::string(nest.open) + " x " + std::to_string(depth),
                 render_or_refuse);
    }
  }
}

}  // namespace
}  // namespace nibble::text
