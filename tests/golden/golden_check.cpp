#include "golden/golden_check.h"

#include <nibble/core/error.h>
#include <nibble/io/safetensors.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <span>

namespace nibble::tests {
namespace {

using kernels::DType;
using kernels::GridKind;

using Bytes = std::vector<std::byte>;

DType dtype_of(const std::string& name) {
  if (name == "fp32") return DType::kFloat32;
  if (name == "bf16") return DType::kBFloat16;
  if (name == "fp16") return DType::kFloat16;
  fail("golden metadata: unknown dtype '", name, "'");
}

DType dtype_of(io::DType dtype) {
  if (dtype == io::DType::kF32) return DType::kFloat32;
  if (dtype == io::DType::kBF16) return DType::kBFloat16;
  if (dtype == io::DType::kF16) return DType::kFloat16;
  fail("golden tensor of dtype ", io::name_of(dtype), " where a float was expected");
}

int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

/// Clears the sign of zeros in a float tensor that holds integers: -0 and +0 are the same integer.
void forget_zero_signs(Bytes& bytes, DType dtype) {
  const int64_t size = bytes_of(dtype);
  for (size_t i = 0; i < bytes.size(); i += size) {
    const auto element = std::span(bytes).subspan(i, size);
    const bool magnitude_is_zero = std::all_of(element.begin(), element.end() - 1,
                                               [](std::byte b) { return b == std::byte{}; }) &&
                                   (element.back() & std::byte{0x7f}) == std::byte{};
    if (magnitude_is_zero) element.back() = std::byte{};
  }
}

/// What the kernels say about one matrix.
struct Outputs {
  Bytes values, scales, zeros, codes, in_range;
};

/// One case of one file against one implementation.
class CaseChecker {
 public:
  CaseChecker(const io::SafetensorsFile& file, std::string file_name, std::string name,
              const KernelSet& kernels, GoldenResult& result)
      : file_(file),
        file_name_(std::move(file_name)),
        name_(std::move(name)),
        kernels_(kernels),
        result_(result) {}

  void check_weight(GridKind grid, int64_t group_size, DType scale_dtype) {
    const Outputs got = check_matrix("w", grid, group_size, scale_dtype);
    expect("conv_weight", got.codes);
    if (grid == GridKind::kSymmetricInt4) {
      expect("conv_scales", got.scales);
      expect("conv_zeros", integers(got.zeros, scale_dtype));
    } else {
      expect("conv_scales_and_zeros", interleave(got));
    }
  }

  void check_activation() {
    check_matrix("x", GridKind::kAsymmetricInt8, tensor("x").shape.back(), DType::kFloat32);
  }

 private:
  static Bytes integers(Bytes bytes, DType dtype) {
    forget_zero_signs(bytes, dtype);
    return bytes;
  }

  const io::TensorData& tensor(const std::string& name) const {
    return file_.at(name_ + "." + name);
  }
  bool has(const std::string& name) const { return file_.contains(name_ + "." + name); }

  Outputs check_matrix(const std::string& prefix, GridKind grid, int64_t group_size,
                       DType scale_dtype) {
    const io::TensorData& input = tensor(prefix);
    kernels::GroupedMatrix matrix;
    matrix.grid = grid;
    matrix.dtype = dtype_of(input.dtype);
    matrix.scale_dtype = scale_dtype;
    matrix.cols = input.shape.back();
    matrix.rows = input.numel() / matrix.cols;
    matrix.group_size = group_size;

    const Outputs got = fake_quantize(matrix, input);
    // The affine grid's zero is a real number, the others' an integer.
    const bool real_zero = grid == GridKind::kAffineInt4;
    expect(prefix + "_scale", got.scales);
    expect(prefix + "_zp", real_zero ? got.zeros : integers(got.zeros, scale_dtype), !real_zero);
    expect(prefix + "_q", got.codes);
    expect(prefix + "_fq", got.values);
    expect_dequantized(matrix, got);
    if (has(prefix + "_up")) expect_gradient(prefix, matrix, got);
    return got;
  }

  Outputs fake_quantize(const kernels::GroupedMatrix& m, const io::TensorData& input) const {
    const int64_t parameters = m.rows * (m.cols / m.group_size) * bytes_of(m.scale_dtype);
    Outputs got{Bytes(input.bytes.size()), Bytes(parameters), Bytes(parameters),
                Bytes(m.rows * m.cols), Bytes(m.rows * kernels::mask_row_bytes(m.cols))};
    kernels::FakeQuantParams p;
    p.matrix = m;
    p.input = input.bytes.data();
    p.input_row_stride = m.cols;
    p.output_dtype = m.dtype;
    p.output = got.values.data();
    p.scales = got.scales.data();
    p.zeros = got.zeros.data();
    p.codes = reinterpret_cast<int8_t*>(got.codes.data());
    p.in_range = reinterpret_cast<uint8_t*>(got.in_range.data());
    kernels_.fake_quantize(p);
    return got;
  }

  /// Codes and scales alone give the fake-quantized values back.
  void expect_dequantized(const kernels::GroupedMatrix& m, const Outputs& got) {
    Bytes values(got.values.size());
    kernels::DequantizeParams p;
    p.matrix = m;
    p.codes = reinterpret_cast<const int8_t*>(got.codes.data());
    p.scales = got.scales.data();
    p.zeros = got.zeros.data();
    p.output = values.data();
    kernels_.dequantize(p);
    if (values != got.values) report("dequantized codes", "differ from the fake-quantized values");
  }

  void expect_gradient(const std::string& prefix, const kernels::GroupedMatrix& m,
                       const Outputs& got) {
    const io::TensorData& upstream = tensor(prefix + "_up");
    Bytes gradient(upstream.bytes.size());
    kernels_.fake_quantize_backward({m, upstream.bytes.data(), got.scales.data(),
                                     reinterpret_cast<const uint8_t*>(got.in_range.data()),
                                     gradient.data()});
    expect(prefix + "_up_grad", gradient);
  }

  /// [rows, groups] scales and zeros as the [groups, rows, 2] buffer of the 4w module.
  Bytes interleave(const Outputs& got) const {
    const auto& shape = tensor("conv_scales_and_zeros").shape;
    const int64_t groups = shape.at(0), rows = shape.at(1), size = bytes_of(DType::kBFloat16);
    Bytes result(got.scales.size() * 2);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t row = 0; row < rows; ++row) {
        std::byte* pair = result.data() + (g * rows + row) * 2 * size;
        std::memcpy(pair, got.scales.data() + (row * groups + g) * size, size);
        std::memcpy(pair + size, got.zeros.data() + (row * groups + g) * size, size);
      }
    }
    return result;
  }

  void expect(const std::string& name, const Bytes& got, bool integer = false) {
    const io::TensorData& expected = tensor(name);
    Bytes want(expected.bytes.begin(), expected.bytes.end());
    if (integer) forget_zero_signs(want, dtype_of(expected.dtype));
    result_.values += expected.numel();
    if (got.size() != want.size()) {
      return report(name, concat_sizes(got.size(), want.size()));
    }
    const size_t item = io::item_size(expected.dtype);
    int64_t different = 0;
    for (size_t i = 0; i < want.size(); i += item) {
      different += std::memcmp(got.data() + i, want.data() + i, item) != 0;
    }
    if (different != 0) report(name, std::to_string(different) + " values differ");
  }

  static std::string concat_sizes(size_t got, size_t want) {
    return detail::concat("has ", want, " bytes, the kernels give ", got);
  }

  void report(const std::string& what, const std::string& problem) {
    result_.failures.push_back(
        detail::concat(kernels_.name, ": ", file_name_, ": ", name_, ".", what, ": ", problem));
  }

  const io::SafetensorsFile& file_;
  std::string file_name_;
  std::string name_;
  const KernelSet& kernels_;
  GoldenResult& result_;
};

void check_file(const std::filesystem::path& path, const KernelSet& kernels, GoldenResult& result) {
  const io::SafetensorsFile file(path);
  const auto& metadata = file.metadata();
  const std::string scheme = metadata.at("scheme");
  const int64_t group_size = std::stoll(metadata.at("group_size"));
  const DType weight_dtype = dtype_of(metadata.at("weight_dtype"));
  const DType scale_dtype = dtype_of(metadata.at("scales_precision"));
  const auto cases = nlohmann::json::parse(metadata.at("cases"));
  NIBBLE_CHECK(scheme == "8da4w" || scheme == "4w", "unknown scheme '", scheme, "'");
  NIBBLE_CHECK(cases.is_object() && !cases.empty(), "the metadata lists no case");
  for (const auto& [name, unused] : cases.items()) {
    NIBBLE_CHECK(dtype_of(file.at(name + ".w").dtype) == weight_dtype, name,
                 ".w is not of the weight_dtype of the metadata");
    CaseChecker checker(file, path.filename().string(), name, kernels, result);
    if (scheme == "8da4w") {
      checker.check_weight(GridKind::kSymmetricInt4, group_size, scale_dtype);
      checker.check_activation();
    } else {
      checker.check_weight(GridKind::kAffineInt4, group_size, scale_dtype);
    }
  }
}

}  // namespace

GoldenResult check_golden(const std::filesystem::path& folder, const KernelSet& kernels) {
  GoldenResult result;
  if (!std::filesystem::is_directory(folder)) {
    result.failures.push_back("golden folder " + folder.string() + " does not exist");
    return result;
  }
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    try {
      check_file(path, kernels, result);
      ++result.files;
    } catch (const std::exception& error) {
      result.failures.push_back(path.filename().string() + ": " + error.what());
    }
  }
  if (paths.empty()) {
    result.failures.push_back("no *.safetensors in golden folder " + folder.string());
  }
  return result;
}

}  // namespace nibble::tests
