#include <nibble/core/error.h>
#include <nibble/data/batch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nibble::data {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Row kShort{{1, 2}, {kIgnoreIndex, 3}, {}};
const Row kLong{{4, 5, 6}, {kIgnoreIndex, 6, 7}, {}};

TEST(Collate, PadsOnTheRightToTheLongest) {
  const std::vector<const Row*> rows = {&kShort, &kLong};
  const Batch batch = collate(rows, /*pad_id=*/9);
  EXPECT_EQ(batch.rows, 2);
  EXPECT_EQ(batch.length, 3);
  EXPECT_THAT(batch.ids, ElementsAre(1, 2, 9, 4, 5, 6));
  EXPECT_THAT(batch.labels, ElementsAre(-100, 3, -100, -100, 6, 7));
  EXPECT_THAT(batch.lengths, ElementsAre(2, 3));
  EXPECT_THAT(batch.segments, IsEmpty());
  EXPECT_EQ(batch.target_count, 3);
}

TEST(Collate, RoundsTheLengthUp) {
  const std::vector<const Row*> rows = {&kLong};
  const Batch batch = collate(rows, 0, /*length_multiple=*/4);
  EXPECT_THAT(batch.ids, ElementsAre(4, 5, 6, 0));
  EXPECT_EQ(collate(rows, 0, 3).length, 3);
}

TEST(Collate, RefusesNothingAndMixtures) {
  EXPECT_THROW(collate({}, 0), Error);
  const Row packed = pack_rows(std::vector<Row>{kShort}, 8).front();
  const std::vector<const Row*> rows = {&kShort, &packed};
  EXPECT_THROW(collate(rows, 0), Error);
}

TEST(PackRows, FillsInOrderAndNumbersTheSequences) {
  const std::vector<Row> packs = pack_rows(std::vector<Row>{kShort, kLong, kShort}, /*size=*/5);
  ASSERT_EQ(packs.size(), 2u);
  EXPECT_THAT(packs[0].ids, ElementsAre(1, 2, 4, 5, 6));
  EXPECT_THAT(packs[0].labels, ElementsAre(-100, 3, -100, 6, 7));
  EXPECT_THAT(packs[0].segments, ElementsAre(1, 1, 2, 2, 2));
  EXPECT_THAT(packs[1].segments, ElementsAre(1, 1));
  const std::vector<const Row*> rows = {&packs[0], &packs[1]};
  EXPECT_THAT(collate(rows, 0).segments, ElementsAre(1, 1, 2, 2, 2, 1, 1, 0, 0, 0));
}

TEST(PackRows, RefusesARowThatNeverFits) {
  EXPECT_THROW(pack_rows(std::vector<Row>{kLong}, 2), Error);
}

}  // namespace
}  // namespace nibble::data
