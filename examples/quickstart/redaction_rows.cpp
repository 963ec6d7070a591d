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
       "To whom it may concern,", "Hello again,", "This is a note from {n}.", "Hi there,",
       "Sorry to bother you.", "{n} writing once more.", "Good day to you,", "As agreed with {n}:",
       "Dear Sir or Madam,", "Quick update from {n}.", "Thanks for your letter.", "I am {n}."},
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
       "I changed my mail to {e}",
       "our landlord {n} sold the house on {d}",
       "a voucher came with {o}",
       "{p} rings but nobody picks up",
       "kindly confirm {d} to {e}",
       "the pension is paid into {i}",
       "{n} and I share the line {p}",
       "your agent {n} promised a discount",
       "parts of {o} were broken",
       "the password reset goes to {e}",
       "no money has left {i} so far",
       "my passport expires on {d}",
       "the doctor is {n}",
       "put {o} on hold until {d}",
       "a fax can be sent to {p}",
       "half of it was charged to {i}",
       "the lease began on {d} and was signed by {n}",
       "{e} bounced twice",
       "you will find {n} on the second floor",
       "I lost the slip for {o}",
       "from {d} on use {p}",
       "the tax office wrote to {n}",
       "our records show {o} and {i}",
       "write {n} on the envelope",
       "the course starts on {d}",
       "someone used {e} without asking",
       "both {o} and the bill are with {n}",
       "the emergency contact is {p}",
       "block {i} at once",
       "the hearing was on {d}",
       "{n} answers mail at {e}"},
      {"Anna",  "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo",  "Irene", "Jonas",
       "Karin", "Lukas", "Maria", "Nils",  "Olga",  "Paul",  "Rosa",  "Simon", "Tanja", "Viktor",
       "Agnes", "Carlo", "Diana", "Erik",  "Fiona", "Georg", "Helen", "Igor",  "Julia", "Kevin",
       "Laura", "Marco", "Nadia", "Oscar", "Petra", "Ralf",  "Sofia", "Tom",   "Ulla",  "Yusuf"},
      {"Albrecht", "Baker",  "Costa",    "Dorn",   "Evans",   "Fischer",  "Garcia",
       "Hansen",   "Ivanov", "Jensen",   "Keller", "Lopez",   "Meyer",    "Novak",
       "Olsen",    "Peters", "Quinn",    "Rossi",  "Schmidt", "Turner",   "Ahmed",
       "Bauer",    "Cohen",  "Duarte",   "Ekberg", "Fontana", "Gupta",    "Hughes",
       "Iqbal",    "Jung",   "Kowalski", "Larsen", "Moreau",  "Nakamura", "Ortega",
       "Patel",    "Reyes",  "Silva",    "Tanaka", "Usman",   "Vogel",    "Weber"},
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
