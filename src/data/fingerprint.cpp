#include <nibble/data/fingerprint.h>

namespace nibble::data {

void Fingerprint::add(uint64_t word) {
  constexpr uint64_t kPrime = 0x100000001b3u;
  for (int byte = 0; byte < 8; ++byte) {
    state_ = (state_ ^ (word & 0xff)) * kPrime;
    word >>= 8;
  }
}

void Fingerprint::add(std::span<const int64_t> ids) {
  add(static_cast<uint64_t>(ids.size()));
  for (const int64_t id : ids) add(static_cast<uint64_t>(id));
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
