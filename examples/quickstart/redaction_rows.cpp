#include "redaction_rows.h"

#include <nibble/data/random.h>

#include <nlohmann/json.hpp>

#include <string_view>

#include "redaction_material.h"

namespace quickstart {
namespace {

using nibble::data::SplitMix64;

template <class T>
const T& pick(SplitMix64& random, const std::vector<T>& values) {
  return values[random.below(values.size())];
}

std::string digits(SplitMix64& random, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += static_cast<char>('0' + random.below(10));
  return text;
}

/// A number whose last digit has the part's parity.
std::string number(SplitMix64& random, int count, const Material& material) {
  const auto last = 2 * random.below(5) + static_cast<uint64_t>(material.last_digit_parity);
  return digits(random, count - 1) + static_cast<char>('0' + last);
}

std::string two_digits(uint64_t value) {
  return {static_cast<char>('0' + value / 10), static_cast<char>('0' + value % 10)};
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string name(SplitMix64& random, const Material& material) {
  std::string text(pick(random, material.first_names));
  text += ' ';
  text += pick(random, material.last_names);
  return text;
}

/// The parity of the year keeps the parts' dates apart.
std::string date(SplitMix64& random, const Material& material) {
  const uint64_t year =
      1960 + 2 * random.below(30) + static_cast<uint64_t>(material.last_digit_parity);
  std::string text = two_digits(1 + random.below(28));
  text += '.';
  text += two_digits(1 + random.below(12));
  text += '.';
  text += std::to_string(year);
  return text;
}

struct Slot {
  std::string value;
  std::string_view placeholder;
};

// Each draw is a statement of its own: the order of a sum's operands is the compiler's choice.
std::string phone(SplitMix64& random, const Material& material) {
  std::string text = "0";
  text += digits(random, 3);
  text += ' ';
  text += number(random, 6, material);
  return text;
}

std::string email(SplitMix64& random, const Material& material) {
  std::string text = lower(pick(random, material.first_names));
  text += '.';
  text += lower(pick(random, material.last_names));
  text += '@';
  text += pick(random, material.mail_hosts);
  return text;
}

std::string iban(SplitMix64& random, const Material& material) {
  std::string text = "DE";
  text += digits(random, 2);
  text += ' ';
  text += digits(random, 4);
  text += ' ';
  text += number(random, 4, material);
  return text;
}

std::string order(SplitMix64& random, const Material& material) {
  std::string text = "A-";
  text += number(random, 5, material);
  return text;
}

Slot fill(char kind, SplitMix64& random, const Material& material) {
  switch (kind) {
    case 'n':
      return {name(random, material), "[NAME]"};
    case 'p':
      return {phone(random, material), "[PHONE]"};
    case 'd':
      return {date(random, material), "[DATE]"};
    case 'e':
      return {email(random, material), "[EMAIL]"};
    case 'i':
      return {iban(random, material), "[IBAN]"};
    default:
      return {order(random, material), "[ORDER]"};
  }
}

/// `pattern` with one alternative drawn for each (a|b|c).
std::string choose_alternatives(std::string_view pattern, SplitMix64& random) {
  std::string text;
  for (size_t open; (open = pattern.find('(')) != std::string_view::npos;) {
    const size_t close = pattern.find(')', open);
    std::string_view inside = pattern.substr(open + 1, close - open - 1);
    std::vector<std::string_view> alternatives;
    for (size_t bar; (bar = inside.find('|')) != std::string_view::npos;) {
      alternatives.push_back(inside.substr(0, bar));
      inside.remove_prefix(bar + 1);
    }
    alternatives.push_back(inside);
    text += pattern.substr(0, open);
    text += pick(random, alternatives);
    pattern.remove_prefix(close + 1);
  }
  return text += pattern;
}

/// Appends `pattern` to the message with data and to the one with placeholders.
void append(std::string_view pattern_with_alternatives, SplitMix64& random,
            const Material& material, RedactionRow& row) {
  const std::string pattern = choose_alternatives(pattern_with_alternatives, random);
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '{') {
      row.input += pattern[i];
      row.output += pattern[i];
      continue;
    }
    const Slot slot = fill(pattern[i + 1], random, material);
    row.input += slot.value;
    row.output += slot.placeholder;
    i += 2;  // the kind and the closing brace
  }
}

RedactionRow make_row(const Material& material, uint64_t seed, uint64_t index) {
  const std::vector<size_t> order =
      nibble::data::permutation(material.fragments.size(), seed, index);
  SplitMix64 random(seed * 0x9e3779b97f4a7c15u + index);
  RedactionRow row{std::string(kInstruction), "", ""};
  append(pick(random, material.openings), random, material, row);
  const size_t fragments = 3 + random.below(3);
  for (size_t i = 0; i < fragments; ++i) {
    append(i == 0 ? " " : (i + 1 == fragments ? ", and " : ", "), random, material, row);
    append(material.fragments[order[i]], random, material, row);
  }
  append(".", random, material, row);
  return row;
}

}  // namespace

std::vector<RedactionRow> make_redaction_rows(Part part, int64_t count, uint64_t seed) {
  const Material& material = part == Part::kTraining ? training_material() : held_out_material();
  std::vector<RedactionRow> rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(make_row(material, seed, static_cast<uint64_t>(i)));
  }
  return rows;
}

std::string to_jsonl(const std::vector<RedactionRow>& rows) {
  std::string text;
  for (const RedactionRow& row : rows) {
    text +=
        nlohmann::ordered_json{
            {"instruction", row.instruction}, {"input", row.input}, {"output", row.output}}
            .dump() +
        "\n";
  }
  return text;
}

}  // namespace quickstart
