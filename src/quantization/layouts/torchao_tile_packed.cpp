#include <nibble/core/error.h>
#include <nibble/io/file_metadata.h>
#include <nibble/io/json.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/tensor_io/tensor_data.h>

#include <torch/torch.h>

#include "tile_packing.h"
#include "torchao.h"

namespace nibble::layouts {
namespace {

using nlohmann::json;
using torch::Tensor;

constexpr char kTiles[] = "_weight_qdata";
constexpr char kScaleAndZero[] = "_weight_scale_and_zero";
constexpr int64_t kColumnMultiple = 1024;  // the kernel's loop over columns
/// Stands for 0 in padded columns, whose scale and zero point are 0.
constexpr int64_t kPaddingCode = 8;

int64_t rounded_up(int64_t size, int64_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

/// Tiles of codes, and [in / group, out, 2] pairs of scale and zero point, both padded to whole
/// kernel steps; the true shape stands in the file's metadata.
class TilePackedLayout final : public Layout {
 public:
  const char* name() const override { return "Int4TilePackedTo4dTensor"; }
  json config(const nn::QuantizationSpec& spec,
              const std::vector<std::string>& kept) const override {
    const json data = {
        {"group_size", spec.group_size},
        {"set_inductor_config", true},
        {"int4_packing_format", "tile_packed_to_4d"},
        {"int4_choose_qparams_algorithm", tagged("Int4ChooseQParamsAlgorithm", "TINYGEMM")},
        {"int4_tile_packed_ntile", kTileRows}};
    return torchao_config({{"_type", "Int4WeightOnlyConfig"}, {"_version", 2}, {"_data", data}},
                          kept);
  }

  nn::QuantizationSpec spec(const json& config) const override {
    const json& data = config.at("quant_type").at("default").at("_data");
    const json& packing = data.at("int4_packing_format");
    NIBBLE_CHECK(packing == "tile_packed_to_4d" ||
                     packing == tagged("Int4PackingFormat", "TILE_PACKED_TO_4D"),
                 "quantization_config: TorchAO's int4_packing_format ", packing.dump(),
                 ", readable: tile_packed_to_4d");
    return {nn::Scheme::k4w, data.at("group_size").get<int64_t>(), at::kBFloat16,
            nn::WeightGrid::kAsymmetric};
  }

  std::vector<io::TensorInfo> describe(const std::string& path, int64_t rows, int64_t columns,
                                       const nn::QuantizationSpec& spec) const override {
    NIBBLE_CHECK(kColumnMultiple % spec.group_size == 0, path, ": group size ", spec.group_size,
                 " does not divide 1024, which tinygemm's kernel needs");
    const int64_t padded_rows = rounded_up(rows, kTileRows);
    const int64_t padded_columns = rounded_up(columns, kColumnMultiple);
    return {info(path, kTiles, io::DType::kI32,
                 {padded_rows / kTileRows, padded_columns / kTileColumns, 32, 4}),
            info(path, kScaleAndZero, io::DType::kBF16,
                 {padded_columns / spec.group_size, padded_rows, 2})};
  }

  std::vector<io::NamedTensor> write(const std::string& path,
                                     const nn::LinearImpl& linear) const override {
    const int64_t rows = linear.options.out_features(), columns = linear.options.in_features();
    const int64_t extra_rows = rounded_up(rows, kTileRows) - rows;
    const int64_t extra_columns = rounded_up(columns, kColumnMultiple) - columns;
    const int64_t extra_groups = extra_columns / linear.spec()->group_size;
    const Tensor codes =
        torch::constant_pad_nd(linear.codes(), {0, extra_columns, 0, extra_rows}, kPaddingCode);
    const Tensor pairs = torch::stack({linear.scales, linear.zeros}, -1);
    const Tensor padded = torch::constant_pad_nd(pairs, {0, 0, 0, extra_groups, 0, extra_rows}, 0);
    return {named(path, kTiles, pack_tiles(codes)),
            named(path, kScaleAndZero, padded.transpose(0, 1).contiguous())};
  }

  std::vector<std::string> suffixes() const override { return {kTiles, kScaleAndZero}; }
  bool takes_int8_embedding() const override { return false; }

  QuantizedTensors read(const std::string& path, const io::Checkpoint& checkpoint,
                        nn::QuantizationSpec& spec) const override {
    const auto [rows, columns] = stored_shape(path, checkpoint);
    const Tensor codes = unpack_tiles(read_tensor(checkpoint, path, kTiles, at::kInt, 4));
    const Tensor pairs = read_tensor(checkpoint, path, kScaleAndZero, at::kBFloat16, 3);
    nn::check_spec(spec, columns);
    NIBBLE_CHECK(codes.size(0) >= rows && codes.size(1) >= columns &&
                     pairs.size(0) == codes.size(1) / spec.group_size &&
                     pairs.size(1) == codes.size(0) && pairs.size(2) == 2,
                 path, ": ", kTiles, " and ", kScaleAndZero, " do not fit a weight [", rows, ", ",
                 columns, "] in groups of ", spec.group_size);
    const Tensor own =
        pairs.transpose(0, 1).narrow(0, 0, rows).narrow(1, 0, columns / spec.group_size);
    return {ops::pack_int4(codes.narrow(0, 0, rows).narrow(1, 0, columns).contiguous(), false),
            own.select(2, 0).contiguous(), own.select(2, 1).contiguous()};
  }

  std::map<std::string, std::string> metadata(const std::vector<io::TensorGroup>& groups,
                                              const nn::QuantizationSpec& spec,
                                              at::ScalarType) const override {
    return torchao_metadata(groups, kTiles, [&](const io::TensorGroup& group) {
      return json{{"_type", "Int4TilePackedTo4dTensor"},
                  {"_data", {{"block_size", {1, spec.group_size}}, {"shape", group.shape}}},
                  {"_tensor_data_names", {"qdata", "scale_and_zero"}}};
    });
  }

 private:
  static std::pair<int64_t, int64_t> stored_shape(const std::string& path,
                                                  const io::Checkpoint& checkpoint) {
    const std::string origin = checkpoint.path().string() + ": metadata of " + path + ".weight";
    const auto* files = dynamic_cast<const io::FileMetadata*>(&checkpoint);
    const auto text = files == nullptr ? std::nullopt : files->metadata(path + ".weight");
    NIBBLE_CHECK(text, origin, " is missing");
    const json description = io::parse_json(*text, origin);
    try {
      const auto shape = description.at("_data").at("shape").get<std::vector<int64_t>>();
      NIBBLE_CHECK(shape.size() == 2 && shape[0] > 0 && shape[1] > 0, origin, ": bad shape");
      return {shape[0], shape[1]};
    } catch (const json::exception& error) {
      fail(origin, " has no shape: ", error.what());
    }
  }
};

}  // namespace

std::unique_ptr<Layout> torchao_tile_packed_layout() {
  return std::make_unique<TilePackedLayout>();
}

}  // namespace nibble::layouts
