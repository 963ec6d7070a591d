#include <nibble/data/fingerprint.h>

#include <gtest/gtest.h>

namespace nibble::data {
namespace {

std::string of(const std::vector<int64_t>& ids) {
  Fingerprint print;
  print.add(ids);
  return print.to_string();
}

TEST(Fingerprint, IsFnv1aOfTheBytes) {
  // Computed with Python: FNV-1a over struct.pack("<q", n) of the length and each id.
  EXPECT_EQ(of({}), "a8c7f832281a39c5");
  EXPECT_EQ(of({1, -100, 49151}), "90742da7b0812da2");
}

TEST(Fingerprint, TakesText) {
  Fingerprint print;
  print.add(std::string_view("ab\xff"));
  // Computed with Python: FNV-1a over struct.pack("<q", 3) + b"ab\xff".
  EXPECT_EQ(print.to_string(), "c11a4ad2519b0b2e");
}

TEST(Fingerprint, SeesEveryChange) {
  const std::vector<Row> rows = {{{1, 2}, {2, kIgnoreIndex}}, {{3}, {4}}};
  const std::string all = fingerprint(rows);
  EXPECT_EQ(fingerprint(rows), all);
  std::vector<Row> other = rows;
  other[0].labels[1] = 3;
  EXPECT_NE(fingerprint(other), all);
  other = {rows[1], rows[0]};
  EXPECT_NE(fingerprint(other), all);
  EXPECT_NE(fingerprint(std::span(rows).first(1)), all);
  // Ids that move from one row to the next.
  EXPECT_NE(fingerprint(std::vector<Row>{{{1}, {}}, {{2, 3}, {}}}),
            fingerprint(std::vector<Row>{{{1, 2}, {}}, {{3}, {}}}));
}

}  // namespace
}  // namespace nibble::data
