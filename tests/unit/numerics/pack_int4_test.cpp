#include <nibble/numerics/pack_int4.h>

#include <gtest/gtest.h>

namespace nibble::numerics {
namespace {

TEST(PackInt4, EveryPairSurvives) {
  for (int low = -8; low <= 7; ++low) {
    for (int high = -8; high <= 7; ++high) {
      const uint8_t byte = pack_int4(low, high);
      EXPECT_EQ(unpack_int4_low(byte), low);
      EXPECT_EQ(unpack_int4_high(byte), high);
    }
  }
}

TEST(PackInt4, EvenColumnIsTheLowNibbleOffsetByEight) {
  EXPECT_EQ(pack_int4(-8, -8), 0x00);
  EXPECT_EQ(pack_int4(7, -8), 0x0f);
  EXPECT_EQ(pack_int4(-8, 7), 0xf0);
  EXPECT_EQ(pack_int4(0, 0), 0x88);
}

TEST(PackInt4, OddRowTakesOneMoreByte) {
  EXPECT_EQ(packed_row_bytes(0), 0);
  EXPECT_EQ(packed_row_bytes(1), 1);
  EXPECT_EQ(packed_row_bytes(2), 1);
  EXPECT_EQ(packed_row_bytes(7), 4);
}

}  // namespace
}  // namespace nibble::numerics
