#include "redaction_rows.h"

#include <nibble/data/random.h>

#include <nlohmann/json.hpp>

#include <array>
#include <string_view>

namespace quickstart {
namespace {

using nibble::data::SplitMix64;

/// What one part of the data is made of. {n} name, {p} phone, {d} date, {e} e-mail, {i} IBAN,
/// {o} order number.
struct Material {
  std::vector<std::string_view> openings;
  std::vector<std::string_view> fragments;
  std::vector<std::string_view> first_names;
  std::vector<std::string_view> last_names;
  std::vector<std::string_view> mail_hosts;
  int last_digit_parity;  ///< numbers of the parts end in digits of different parity
};

const Material& training_material() {
  static const Material material{
      {"Hello, this is {n}.", "Dear team, my name is {n}.", "Hi, {n} here.", "Good morning.",
       "To whom it may concern,", "Hello again,", "This is a note from {n}.", "Hi there,"},
      {"please ring me on {p}",
       "the contract {o} ends on {d}",
       "you can write to {e}",
       "my account is {i}",
       "I was born on {d}",
       "order {o} has not arrived",
       "the refund should go to {i}",
       "{n} signed for the parcel",
       "my new number is {p}",
       "please copy {e} on the reply",
       "we met {n} on {d}",
       "the invoice {o} is still open",
       "the old address {e} no longer works",
       "call {n} under {p}",
       "the delivery of {o} was planned for {d}",
       "I paid from {i} on {d}",
       "my colleague {n} will take over",
       "the appointment moves to {d}",
       "send the form to {e} by {d}",
       "ask for {n} at the desk",
       "ticket {o} can be closed",
       "the bank lists {i} as mine",
       "leave a message on {p}",
       "my wife {n} may collect it",
       "the warranty of {o} runs until {d}",
       "{e} is the address of my lawyer",
       "transfer the deposit to {i}",
       "since {d} nobody answers {p}",
       "the booking {o} is under {n}",
       "I changed my mail to {e}"},
      {"Anna",  "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo",  "Irene", "Jonas",
       "Karin", "Lukas", "Maria", "Nils",  "Olga",  "Paul",  "Rosa",  "Simon", "Tanja", "Viktor"},
      {"Albrecht", "Baker",  "Costa",  "Dorn",   "Evans",   "Fischer", "Garcia",
       "Hansen",   "Ivanov", "Jensen", "Keller", "Lopez",   "Meyer",   "Novak",
       "Olsen",    "Peters", "Quinn",  "Rossi",  "Schmidt", "Turner"},
      {"mail.example", "post.example", "inbox.example", "letters.example"},
      0};
  return material;
}

const Material& held_out_material() {
  static const Material material{
      {"Greetings from {n}.", "Good evening, {n} speaking.", "A short question.", "Dear all,"},
      {"reach me at {p} after lunch", "the subscription {o} began on {d}",
       "forward everything to {e}", "the money came from {i}", "{n} turned forty on {d}",
       "package {o} is damaged", "please debit {i} instead", "our neighbour {n} has the key",
       "text {p} if you are late", "the receipt went to {e}", "{n} cancelled on {d}",
       "reference {o} is wrong", "the transfer to {i} failed on {d}", "{p} belongs to {n}"},
      {"Adele", "Bruno", "Carla", "Dario", "Edith", "Fabian", "Gloria", "Henrik", "Ingrid",
       "Julian", "Katja", "Leon"},
      {"Arnold", "Brandt", "Carter", "Dietrich", "Ericson", "Foster", "Grant", "Huber", "Irving",
       "Jacobs", "Kramer", "Lang"},
      {"web.example", "office.example", "home.example"},
      1};
  return material;
}

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

std::string two_digits(uint64_t value) { return (value < 10 ? "0" : "") + std::to_string(value); }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string name(SplitMix64& random, const Material& material) {
  return std::string(pick(random, material.first_names)) + " " +
         std::string(pick(random, material.last_names));
}

/// The parity of the year keeps the parts' dates apart.
std::string date(SplitMix64& random, const Material& material) {
  const uint64_t year =
      1960 + 2 * random.below(30) + static_cast<uint64_t>(material.last_digit_parity);
  return two_digits(1 + random.below(28)) + "." + two_digits(1 + random.below(12)) + "." +
         std::to_string(year);
}

struct Slot {
  std::string value;
  std::string_view placeholder;
};

Slot fill(char kind, SplitMix64& random, const Material& material) {
  switch (kind) {
    case 'n':
      return {name(random, material), "[NAME]"};
    case 'p':
      return {"0" + digits(random, 3) + " " + number(random, 6, material), "[PHONE]"};
    case 'd':
      return {date(random, material), "[DATE]"};
    case 'e':
      return {lower(pick(random, material.first_names)) + "." +
                  lower(pick(random, material.last_names)) + "@" +
                  std::string(pick(random, material.mail_hosts)),
              "[EMAIL]"};
    case 'i':
      return {
          "DE" + digits(random, 2) + " " + digits(random, 4) + " " + number(random, 4, material),
          "[IBAN]"};
    default:
      return {"A-" + number(random, 5, material), "[ORDER]"};
  }
}

/// Appends `pattern` to the message with data and to the one with placeholders.
void append(std::string_view pattern, SplitMix64& random, const Material& material,
            RedactionRow& row) {
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
