#include <nibble/core/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nibble {
namespace {

using testing::HasSubstr;
using testing::StrEq;
using testing::ThrowsMessage;

TEST(Error, CheckConcatenatesWhatItIsGiven) {
  EXPECT_THAT([] { NIBBLE_CHECK(1 > 2, "group_size is ", 0, ", allowed: > ", 0.5); },
              ThrowsMessage<Error>(StrEq("group_size is 0, allowed: > 0.5")));
}

TEST(Error, CheckEvaluatesItsConditionOnce) {
  int evaluations = 0;
  NIBBLE_CHECK(++evaluations > 0, "unreachable");
  EXPECT_EQ(evaluations, 1);
}

}  // namespace
}  // namespace nibble
