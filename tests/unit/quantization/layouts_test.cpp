#include <nibble/core/error.h>
#include <nibble/io/checkpoint.h>
#include <nibble/io/json.h>
#include <nibble/io/safetensors.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include <gmock/gmock.h>

#include "quantization/layouts/layout.h"
#include "quantization/layouts/tile_packing.h"
#include "support/temp_dir.h"

// The bytes of each layout as its consumers read them, and what is refused on the way back. The
// consumers themselves: tests/consumers.
namespace nibble::layouts {
namespace {

using nibble::testing::TempDir;
using torch::Tensor;

/// Codes -8..7 that differ between neighbours, rows and groups; scales that differ everywhere.
nn::LinearImpl make_linear(nn::QuantizationSpec spec, int64_t rows, int64_t columns) {
  const bool symmetric = spec.grid == nn::WeightGrid::kSymmetric;
  const Tensor index = torch::arange(rows * columns).view({rows, columns});
  const Tensor codes =
      ((index * 7 + index.div(columns, "floor") * 3) % 16 - (symmetric ? 8 : 0)).to(torch::kChar);
  const Tensor groups = torch::arange(1, rows * columns / spec.group_size + 1)
                            .view({rows, columns / spec.group_size});
  nn::LinearImpl linear(torch::empty({rows, columns}, torch::kMeta), Tensor());
  linear.load_quantized(
      spec, ops::pack_int4(codes, symmetric), (groups * 0.125).to(spec.scale_dtype),
      symmetric ? Tensor() : (groups * -0.25).to(spec.scale_dtype), torch::kFloat);
  return linear;
}

class LayoutTest : public ::testing::Test {
 protected:
  /// Writes a Linear "fc" as a checkpoint; `damage` may change what is stored.
  std::unique_ptr<io::Checkpoint> store(
      const Layout& layout, const nn::LinearImpl& linear,
      const std::function<void(std::map<std::string, Tensor>&)>& damage = {}) {
    std::map<std::string, Tensor> tensors;
    for (const auto& [name, data] : layout.write("fc", linear)) {
      tensors[name] = tensor_io::to_tensor(data).clone();
    }
    if (damage) damage(tensors);
    std::vector<io::NamedTensor> named;
    io::TensorGroup group{
        "fc.weight", {}, {linear.options.out_features(), linear.options.in_features()}};
    for (const auto& [name, tensor] : tensors) {
      named.push_back({name, tensor_io::to_tensor_data(tensor)});
    }
    group.tensors = layout.describe("fc", group.shape[0], group.shape[1], *linear.spec());
    io::write_safetensors(folder_ / "model.safetensors", named,
                          layout.metadata({group}, *linear.spec(), torch::kFloat));
    io::write_json_file(folder_ / "config.json", nlohmann::json::object());
    return io::open_checkpoint(folder_.path());
  }

  void expect_refused(const Layout& layout, const nn::LinearImpl& linear,
                      const std::function<void(std::map<std::string, Tensor>&)>& damage) {
    const auto checkpoint = store(layout, linear, damage);
    nn::QuantizationSpec spec = layout.spec(layout.config(*linear.spec(), {}));
    EXPECT_THROW(layout.read("fc", *checkpoint, spec), Error);
  }

  TempDir folder_;
};

struct Case {
  const char* name;
  std::unique_ptr<Layout> (*layout)();
  nn::QuantizationSpec spec;
};

constexpr auto kSymmetric = nn::WeightGrid::kSymmetric;
const Case kCases[] = {
    {"nibble", nibble_layout, {nn::Scheme::k4w, 32, torch::kBFloat16, nn::WeightGrid::kAsymmetric}},
    {"pack4w", pack_quantized_layout, {nn::Scheme::k4w, 32, torch::kBFloat16, kSymmetric}},
    {"pack8da4w", pack_quantized_layout, {nn::Scheme::k8da4w, 64, torch::kFloat, kSymmetric}},
    {"int8da4w", int_quantized_layout, {nn::Scheme::k8da4w, 32, torch::kFloat, kSymmetric}},
    {"intx8da4w", torchao_intx_layout, {nn::Scheme::k8da4w, 32, torch::kFloat, kSymmetric}},
    {"intx4w", torchao_intx_layout, {nn::Scheme::k4w, 64, torch::kBFloat16, kSymmetric}},
    {"tiles",
     torchao_tile_packed_layout,
     {nn::Scheme::k4w, 32, torch::kBFloat16, nn::WeightGrid::kAsymmetric}},
};

TEST_F(LayoutTest, ReadsBackWhatItWroteAndSaidItWouldWrite) {
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.name);
    const auto layout = one.layout();
    const nn::LinearImpl linear = make_linear(one.spec, 12, 192);
    const auto described = layout->describe("fc", 12, 192, one.spec);
    const auto written = layout->write("fc", linear);
    ASSERT_EQ(described.size(), written.size());
    for (size_t i = 0; i < written.size(); ++i) {
      EXPECT_EQ(described[i].name, written[i].name);
      EXPECT_EQ(described[i].shape, written[i].data.shape) << written[i].name;
      EXPECT_EQ(described[i].dtype, written[i].data.dtype) << written[i].name;
    }
    const auto checkpoint = store(*layout, linear);
    nn::QuantizationSpec spec = layout->spec(layout->config(one.spec, {"lm_head"}));
    const QuantizedTensors read = layout->read("fc", *checkpoint, spec);
    EXPECT_EQ(spec, one.spec);
    EXPECT_TRUE(read.packed_weight.equal(linear.packed_weight));
    EXPECT_TRUE(read.scales.equal(linear.scales));
    EXPECT_EQ(read.zeros.defined(), linear.zeros.defined());
    if (read.zeros.defined()) {
      EXPECT_TRUE(read.zeros.equal(linear.zeros));
    }
  }
}

/// Codes -8..-1 in one row: in offset binary 0..7.
nn::LinearImpl eight_codes() {
  nn::LinearImpl linear(torch::empty({1, 8}, torch::kMeta), Tensor());
  linear.load_quantized({nn::Scheme::k4w, 8, torch::kFloat, kSymmetric},
                        ops::pack_int4(torch::arange(-8, 0).view({1, 8}).to(torch::kChar), true),
                        torch::full({1, 1}, 0.5), Tensor(), torch::kFloat);
  return linear;
}

TEST(Layouts, PackQuantizedPutsTheFirstColumnIntoTheLowestNibble) {
  const auto written = pack_quantized_layout()->write("fc", eight_codes());
  EXPECT_EQ(written[0].name, "fc.weight_packed");
  EXPECT_EQ(tensor_io::to_tensor(written[0].data).item<int32_t>(), 0x76543210);
  EXPECT_EQ(written[1].name, "fc.weight_scale");
  EXPECT_TRUE(tensor_io::to_tensor(written[2].data).equal(torch::tensor({1, 8}, torch::kLong)));
}

TEST(Layouts, BytesOfUnpackedCodesAreTheCodes) {
  const Tensor codes = torch::arange(-8, 0).view({1, 8}).to(torch::kChar);
  const auto intx = torchao_intx_layout()->write("fc", eight_codes());
  EXPECT_EQ(intx[0].name, "fc._weight_qdata");
  EXPECT_TRUE(tensor_io::to_tensor(intx[0].data).equal(codes));
  const auto integers = int_quantized_layout()->write("fc", eight_codes());
  EXPECT_EQ(integers[0].name, "fc.weight");
  EXPECT_TRUE(tensor_io::to_tensor(integers[0].data).equal(codes));
}

// A lane of the tensor core's B fragment holds columns 2 q, 2 q + 1, 2 q + 8 and 2 q + 9 of two
// inner tiles, the even ones in the low half of the word.
TEST(Layouts, TilesFollowTheTensorCoreFragment) {
  const auto word_of_column = [](int64_t row, int64_t column) {
    Tensor codes = torch::zeros({16, 256}, torch::kChar);
    codes[row][column] = 15;
    const Tensor tiles = pack_tiles(codes);
    const Tensor place = tiles.nonzero();
    EXPECT_EQ(place.size(0), 1);
    EXPECT_TRUE(unpack_tiles(tiles).equal(codes));
    std::vector<int64_t> result(4);
    for (int i = 0; i < 4; ++i) result[static_cast<size_t>(i)] = place[0][i].item<int64_t>();
    result.push_back(
        tiles.index({place[0][0], place[0][1], place[0][2], place[0][3]}).item<int32_t>() &
        0xffffffff);
    return result;
  };
  using Place = std::vector<int64_t>;  // row tile, column tile, lane, word, value
  EXPECT_EQ(word_of_column(0, 0), (Place{0, 0, 0, 0, 0xf}));
  EXPECT_EQ(word_of_column(0, 1), (Place{0, 0, 0, 0, 0xf0000}));
  EXPECT_EQ(word_of_column(0, 8), (Place{0, 0, 0, 0, 0xf0}));
  EXPECT_EQ(word_of_column(0, 16), (Place{0, 0, 0, 0, 0xf00}));
  EXPECT_EQ(word_of_column(0, 25), (Place{0, 0, 0, 0, 0xf0000000}));
  EXPECT_EQ(word_of_column(9, 128 + 32 + 2), (Place{1, 1, 5, 1, 0xf}));
}

TEST_F(LayoutTest, RefusesDamagedTensors) {
  const nn::QuantizationSpec spec{nn::Scheme::k4w, 32, torch::kFloat, kSymmetric};
  const nn::LinearImpl linear = make_linear(spec, 4, 64);
  const auto intx = torchao_intx_layout();
  expect_refused(*intx, linear, [](auto& t) { t["fc._weight_qdata"][0][0] = 8; });
  expect_refused(*intx, linear, [](auto& t) { t["fc._weight_zero_point"][3][1] = 1; });
  expect_refused(*intx, linear, [](auto& t) {
    t["fc._weight_scale"] = t["fc._weight_scale"].narrow(1, 0, 1).clone();
  });
  expect_refused(*intx, linear,
                 [](auto& t) { t["fc._weight_qdata"] = t["fc._weight_qdata"].to(torch::kInt); });
  const auto pack = pack_quantized_layout();
  expect_refused(*pack, linear, [](auto& t) { t["fc.weight_shape"][1] = 56; });
  expect_refused(*pack, linear, [](auto& t) { t["fc.weight_shape"][0] = 5; });
  expect_refused(*pack, linear, [](auto& t) { t["fc.weight_shape"][1] = -64; });
  expect_refused(*pack, linear, [](auto& t) { t.erase("fc.weight_scale"); });
  expect_refused(*pack, linear,
                 [](auto& t) { t["fc.weight_scale"] = t["fc.weight_scale"].to(torch::kLong); });
  const auto integers = int_quantized_layout();
  expect_refused(*integers, linear, [](auto& t) { t["fc.weight"][1][5] = -9; });
  const auto tiles = torchao_tile_packed_layout();
  const nn::LinearImpl affine =
      make_linear({nn::Scheme::k4w, 32, torch::kBFloat16, nn::WeightGrid::kAsymmetric}, 4, 64);
  expect_refused(*tiles, affine, [](auto& t) {
    t["fc._weight_scale_and_zero"] = t["fc._weight_scale_and_zero"].narrow(0, 0, 16).clone();
  });
}

TEST(Layouts, RefuseConfigurationsOfOtherProducers) {
  nlohmann::json torchao =
      torchao_intx_layout()->config({nn::Scheme::k8da4w, 32, torch::kFloat, kSymmetric}, {});
  torchao["quant_type"]["default"]["_data"]["weight_dtype"]["_data"] = "int2";
  EXPECT_THROW(torchao_intx_layout()->spec(torchao), Error);
  torchao["quant_type"]["default"]["_type"] = "Float8WeightOnlyConfig";
  EXPECT_THROW(for_config(torchao)->spec(torchao), Error);
  EXPECT_THROW(for_config({{"quant_method", "compressed-tensors"}, {"format", "float-quantized"}}),
               Error);
  EXPECT_THROW(for_config({{"quant_method", "gptq"}}), Error);
}

}  // namespace
}  // namespace nibble::layouts
