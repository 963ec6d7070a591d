#include <nibble/eval/inspection.h>
#include <nibble/models/loading.h>
#include <nibble/quantization/quantize.h>
#include <nibble/quantization/quantized_checkpoint.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <filesystem>

#include "support/temp_dir.h"

namespace nibble::eval {
namespace {

using ::testing::HasSubstr;

constexpr std::array<int64_t, 3> kGroupSizes = {4, 8, 16};

std::filesystem::path tiny(const char* name) {
  return std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/tiny_models" / name;
}

int64_t stored_bytes(const io::Checkpoint& checkpoint) {
  int64_t bytes = 0;
  for (const std::string& name : checkpoint.tensor_names()) bytes += checkpoint.stored(name).bytes;
  return bytes;
}

TEST(Inspection, ThePlannedSizeIsTheOneOfTheFile) {
  // Biases and an own head; a tied head; fused projections.
  for (const char* name : {"llama_bias_linear_rope", "qwen2", "phi3_long"}) {
    const auto source = io::open_checkpoint(tiny(name));
    const ModelInspection inspection = inspect_model(*source, kGroupSizes);
    const GroupSizePlan& plan = inspection.plans.at(0);
    EXPECT_EQ(inspection.parameters * 4, stored_bytes(*source)) << name;
    EXPECT_EQ(plan.tensors.full_precision_bytes, inspection.parameters * 2) << name;

    const auto model = models::load_model(*source, {.dtype = at::kBFloat16});
    const QuantizationReport report =
        quantize_(*model, int8_dynamic_activation_int4_weight(4, at::kBFloat16));
    EXPECT_EQ(plan.report.to_string(), report.to_string()) << name;
    const testing::TempDir folder;
    save_quantized(*model, model->config_json(), folder / "quantized", nullptr);
    const auto quantized = io::open_checkpoint(folder / "quantized");
    EXPECT_EQ(plan.tensors.quantized_bytes, stored_bytes(*quantized)) << name;

    const ModelInspection converted = inspect_model(*quantized, kGroupSizes);
    EXPECT_EQ(converted.quantized_as, "compressed-tensors");
    EXPECT_TRUE(converted.plans.empty());
    EXPECT_EQ(converted.parameters, inspection.parameters);
  }
}

TEST(Inspection, SaysWhyALinearStaysInFullPrecision) {
  const auto checkpoint = io::open_checkpoint(tiny("llama_tied"));  // widths 24 and 40
  const ModelInspection inspection = inspect_model(*checkpoint, kGroupSizes);
  EXPECT_EQ(inspection.plans.at(1).report.swapped(), 14);
  const GroupSizePlan& none = inspection.plans.at(2);
  EXPECT_EQ(none.report.swapped(), 0);
  EXPECT_EQ(none.tensors.quantized_bytes, none.tensors.full_precision_bytes);
  const std::string text = to_text(inspection);
  EXPECT_THAT(text, HasSubstr("group size 16 does not divide in_features 40"));
  EXPECT_THAT(text, HasSubstr("lm_head stays in full precision by default"));
  EXPECT_THAT(text, HasSubstr("lm_head tied to the embedding"));
  EXPECT_EQ(to_json(inspection)["plans"][2]["linears"].size(), 15u);
}

TEST(Inspection, NamesThePartsOfTheTextSideThatAreMissing) {
  const auto checkpoint = io::open_checkpoint(tiny("gemma3"));
  const ModelInspection inspection = inspect_model(*checkpoint, kGroupSizes);
  EXPECT_EQ(inspection.architecture, "Gemma3ForCausalLM");
  EXPECT_THAT(inspection.tokenizer.problem, HasSubstr("tokenizer.json is not there"));
  EXPECT_EQ(inspection.chat_template.problem, "none");
}

}  // namespace
}  // namespace nibble::eval
