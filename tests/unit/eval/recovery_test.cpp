#include <nibble/eval/recovery.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace nibble::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RecoveryReport report(double full_precision, double ptq, double qat) {
  RecoveryReport report;
  report.full_precision.loss = full_precision;
  report.ptq.loss = ptq;
  report.qat.loss = qat;
  return report;
}

TEST(Recovery, IsTheAvoidedPartOfThePtqCost) {
  const RecoveryReport some = report(1.0, 2.0, 1.25);
  EXPECT_DOUBLE_EQ(some.ptq_cost(), 1.0);
  EXPECT_DOUBLE_EQ(some.qat_cost(), 0.25);
  EXPECT_DOUBLE_EQ(*some.recovered(), 0.75);
  EXPECT_DOUBLE_EQ(*report(1.0, 2.0, 3.0).recovered(), -1.0);
  EXPECT_DOUBLE_EQ(*report(1.0, 2.0, 0.5).recovered(), 1.5);
}

TEST(Recovery, HasNoValueWherePtqCostsNothing) {
  EXPECT_FALSE(report(1.0, 1.0, 1.0).recovered().has_value());
  EXPECT_FALSE(report(1.0, 0.9, 1.0).recovered().has_value());
  EXPECT_TRUE(to_json(report(1.0, 0.9, 1.0))["recovered"].is_null());
  EXPECT_THAT(to_text(report(1.0, 0.9, 1.0)), Not(HasSubstr("recovered")));
}

TEST(Recovery, WritesEverythingItKnows) {
  RecoveryReport known = report(1.0, 1.5, 1.125);
  known.qat.exact_match = 0.5;
  known.layers = SizeChange{.full_precision_bytes = 400, .quantized_bytes = 100};
  const nlohmann::json json = to_json(known);
  EXPECT_EQ(json["recovered"], 0.75);
  EXPECT_EQ(json["qat"]["exact_match"], 0.5);
  EXPECT_TRUE(json["ptq"]["exact_match"].is_null());
  EXPECT_EQ(json["layers"]["ratio"], 4.0);
  EXPECT_TRUE(json["file"].is_null());
  EXPECT_THAT(to_text(known), HasSubstr("75.0 % recovered"));
}

}  // namespace
}  // namespace nibble::eval
