#include <nibble/data/fingerprint.h>

namespace nibble::data {

void Fingerprint::add_byte(uint64_t byte) {
  constexpr uint64_t kPrime = 0x100000001b3u;
  state_ = (state_ ^ byte) * kPrime;
}

void Fingerprint::add_word(uint64_t word) {
  for (int byte = 0; byte < 8; ++byte) {
    add_byte(word & 0xff);
    word >>= 8;
  }
}

void Fingerprint::add(std::span<const int64_t> ids) {
  add_word(static_cast<uint64_t>(ids.size()));
  for (const int64_t id : ids) add_word(static_cast<uint64_t>(id));
}

void Fingerprint::add(std::string_view bytes) {
  add_word(static_cast<uint64_t>(bytes.size()));
  for (const char c : bytes) add_byte(static_cast<unsigned char>(c));
}

std::string Fingerprint::to_string() const {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(state_ >> shift) & 0xf];
  return text;
}

std::string fingerprint(std::span<const Row> rows) {
  Fingerprint all;
  for (const Row& row : rows) {
    all.add(row.ids);
    all.add(row.labels);
    all.add(row.segments);
  }
  return all.to_string();
}

}  // namespace nibble::data
