#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "golden/golden_check.h"

namespace nibble::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// NIBBLE_GOLDEN_DIR, or the vectors beside this file.
std::filesystem::path golden_folder() {
  const char* folder = std::getenv("NIBBLE_GOLDEN_DIR");
  return folder != nullptr ? folder : NIBBLE_SOURCE_DIR "/tests/golden";
}

TEST(golden_vectors, ReferenceGivesTheBitsOfTorchAO) {
  const GoldenResult result = check_golden(golden_folder(), reference_kernels());
  EXPECT_THAT(result.failures, IsEmpty());
  EXPECT_GT(result.files, 0);
  EXPECT_GT(result.values, 0);
}

class golden : public testing::TestWithParam<kernels::CpuIsa> {};

TEST_P(golden, CpuKernelsGiveTheBitsOfTorchAO) {
  if (!kernels::is_supported(GetParam())) GTEST_SKIP() << "this machine cannot run them";
  const GoldenResult result = check_golden(golden_folder(), cpu_kernels(GetParam()));
  EXPECT_THAT(result.failures, IsEmpty());
  EXPECT_GT(result.files, 0);
}

INSTANTIATE_TEST_SUITE_P(kernels, golden, testing::ValuesIn(kernels::kAllCpuIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

TEST(golden_vectors, EmptyFolderFails) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "nibble_golden_empty";
  std::filesystem::create_directories(folder);
  EXPECT_THAT(check_golden(folder, reference_kernels()).failures,
              ElementsAre(HasSubstr("no *.safetensors")));
}

TEST(golden_vectors, WrongBitIsSeen) {
  KernelSet wrong = reference_kernels();
  wrong.fake_quantize = [right = wrong.fake_quantize](const kernels::FakeQuantParams& p) {
    right(p);
    p.codes[0] ^= 1;
  };
  EXPECT_THAT(check_golden(golden_folder(), wrong).failures,
              testing::Contains(HasSubstr("w_q: 1 values differ")));
}

}  // namespace
}  // namespace nibble::tests
