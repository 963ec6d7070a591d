#include "gpu/quantized_linear_check.h"

#include <nibble/core/error.h>
#include <nibble/kernels/quantized_linear_cuda.h>
#include <nibble/numerics/float_types.h>
#include <nibble/numerics/pack_int4.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <random>
#include <thread>

#include "gpu/cuda_error.h"
#include "grid_dispatch.h"

namespace nibble::tests {
namespace {

using kernels::DType;
using kernels::GridKind;
using kernels::GroupedMatrix;

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& host) : size_(host.size()) {
    NIBBLE_CHECK_CUDA(cudaMalloc(&data_, size_ * sizeof(T) + 1));
    NIBBLE_CHECK_CUDA(cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> host(size_);
    NIBBLE_CHECK_CUDA(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  size_t size_;
  T* data_ = nullptr;
};

/// A quantized weight on the host, and its values.
struct Weight {
  GroupedMatrix matrix;
  std::vector<uint8_t> packed;
  std::vector<float> scales, zeros;  ///< bytes in the scale dtype
  std::vector<float> values;         ///< rounded to the dtype
  std::vector<double> exact;         ///< not rounded
};

/// As the kernel computes them: code * scale + zero.
template <class S>
std::vector<double> exact_values(const Weight& weight) {
  const auto parameter = [](const std::vector<float>& bytes, size_t index) {
    return static_cast<double>(static_cast<float>(reinterpret_cast<const S*>(bytes.data())[index]));
  };
  const GroupedMatrix& m = weight.matrix;
  std::vector<double> values(weight.values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t group = i / static_cast<size_t>(m.group_size);
    const int nibble = weight.packed[i / 2] >> (4 * (i % 2)) & 15;
    values[i] = (nibble - 8) * parameter(weight.scales, group);
    if (m.grid == GridKind::kAffineInt4) values[i] += parameter(weight.zeros, group);
  }
  return values;
}

/// A float that rounds to T as `value` does: it keeps, in its last bit, that something was cut off.
float rounded_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  if (nearest == value) return nearest;
  const float result =
      std::abs(nearest) > std::abs(value) ? std::nextafter(nearest, 0.0f) : nearest;
  return numerics::float_from_bits(numerics::float_bits(result) | 1u);
}

template <class T>
Weight random_weight(const GroupedMatrix& matrix, std::mt19937_64& random) {
  const auto elements = static_cast<size_t>(matrix.rows * matrix.cols);
  const size_t groups = elements / static_cast<size_t>(matrix.group_size);
  std::normal_distribution<float> normal;
  std::vector<T> source(elements);
  for (T& value : source) value = T(normal(random));
  Weight weight{matrix,
                std::vector<uint8_t>(elements / 2),
                std::vector<float>(groups),
                std::vector<float>(groups),
                std::vector<float>(elements),
                {}};
  kernels::FakeQuantParams p;
  p.matrix = matrix;
  p.input = source.data();
  p.input_row_stride = matrix.cols;
  std::vector<T> values(elements);
  p.output_dtype = matrix.dtype;
  p.output = values.data();
  p.packed_codes = weight.packed.data();
  p.scales = weight.scales.data();  // at least as wide as the scale dtype
  p.zeros = weight.zeros.data();
  kernels::fake_quantize_cpu(p, 0, matrix.rows);
  for (size_t i = 0; i < elements; ++i) weight.values[i] = static_cast<float>(values[i]);
  kernels::dispatch_dtype(matrix.scale_dtype, [&](auto scale) {
    weight.exact = exact_values<typename decltype(scale)::type>(weight);
  });
  return weight;
}

template <class T>
double rounding_of() {
  return std::is_same_v<T, numerics::BFloat16> ? std::ldexp(1.0, -8) : std::ldexp(1.0, -11);
}

constexpr float kGuard = -77.0f;

/// A weight on the device, and a place for its product.
template <class T>
struct Product {
  Weight weight;
  DeviceArray<uint8_t> packed;
  DeviceArray<float> scales, zeros;
  DeviceArray<T> output;  ///< and a few elements behind it

  Product(Weight source, int64_t tokens)
      : weight(std::move(source)),
        packed(weight.packed),
        scales(weight.scales),
        zeros(weight.zeros),
        output(std::vector<T>(static_cast<size_t>(tokens * weight.matrix.rows) + 8, T(kGuard))) {}

  kernels::QuantizedLinearParams params(int64_t tokens, const T* input) const {
    kernels::QuantizedLinearParams p;
    p.weight = weight.matrix;
    p.packed_codes = packed.data();
    p.scales = scales.data();
    p.zeros = weight.matrix.grid == GridKind::kSymmetricInt4 ? nullptr : zeros.data();
    p.tokens = tokens;
    p.input = input;
    p.output = output.data();
    return p;
  }
};

struct Exact {
  double product;
  double magnitude;  ///< the sum of the terms' magnitudes
};

template <class T>
Exact product_of(const T* input, const double* values, int64_t cols) {
  Exact result{0.0, 0.0};
  for (int64_t col = 0; col < cols; ++col) {
    const double term = static_cast<double>(static_cast<float>(input[col])) * values[col];
    result.product += term;
    result.magnitude += std::abs(term);
  }
  return result;
}

struct Difference {
  int64_t wrong = 0;
  double worst = 0;  ///< in units of what is allowed

  template <class T>
  void add(T got, double want, double allowed) {
    const double error = std::abs(static_cast<float>(got) - want);
    if (!(error <= allowed)) ++wrong;
    worst = std::max(worst, error / allowed);
  }
};

template <class T>
void compare(const Product<T>& product, const std::vector<T>& x, int64_t tokens,
             QuantizedLinearResult& result) {
  const Weight& weight = product.weight;
  const GroupedMatrix& matrix = weight.matrix;
  const std::vector<T> got = product.output.read();
  // Where a group has whole chunks, sums of codes are scaled (kernels/quantized_linear.h).
  const bool scales_sums = matrix.group_size % 128 == 0 && tokens <= 16;
  const auto outputs = static_cast<size_t>(tokens * matrix.rows);
  const bool rounds_once =
      std::is_same_v<T, numerics::BFloat16> && tokens > 16 && matrix.grid == GridKind::kAffineInt4;
  std::vector<double> values = weight.exact;
  for (size_t i = 0; i < values.size() && !scales_sums; ++i) {
    values[i] = rounds_once ? static_cast<float>(T(rounded_to_odd(values[i]))) : weight.values[i];
  }
  std::vector<Difference> parts(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (size_t part = 0; part < parts.size(); ++part) {
    threads.emplace_back([&, part] {
      for (auto token = static_cast<int64_t>(part); token < tokens; token += std::ssize(parts)) {
        const T* input = &x[static_cast<size_t>(token * matrix.cols)];
        for (int64_t row = 0; row < matrix.rows; ++row) {
          const auto [want, magnitude] =
              product_of(input, &values[static_cast<size_t>(row * matrix.cols)], matrix.cols);
          parts[part].add(
              got[static_cast<size_t>(token * matrix.rows + row)], want,
              rounding_of<T>() * std::abs(want) + std::ldexp(magnitude, scales_sums ? -18 : -20));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int64_t wrong = 0;
  double worst = 0;
  for (const Difference& part : parts) {
    wrong += part.wrong;
    worst = std::max(worst, part.worst);
  }
  for (size_t i = outputs; i < got.size(); ++i) wrong += static_cast<float>(got[i]) != kGuard;
  result.outputs += tokens * matrix.rows;
  if (wrong > 0) {
    result.failures.push_back(detail::concat(
        "quantized_linear grid ", static_cast<int>(matrix.grid), " dtype ",
        static_cast<int>(matrix.dtype), " scales ", static_cast<int>(matrix.scale_dtype), " [",
        matrix.rows, ", ", matrix.cols, "] group ", matrix.group_size, ", ", tokens,
        " tokens: ", wrong, " wrong, the worst ", worst, " times what is allowed"));
  }
}

/// Weights of `rows` that share an input, in one call.
template <class T>
void check(GroupedMatrix matrix, const std::vector<int64_t>& rows, int64_t tokens,
           QuantizedLinearResult& result) {
  std::mt19937_64 random(static_cast<uint64_t>(rows[0] * 31 + matrix.cols + tokens));
  std::vector<std::unique_ptr<Product<T>>> products;
  for (const int64_t count : rows) {
    matrix.rows = count;
    products.push_back(std::make_unique<Product<T>>(random_weight<T>(matrix, random), tokens));
  }
  std::normal_distribution<float> normal;
  std::vector<T> x(static_cast<size_t>(tokens * matrix.cols));
  for (T& value : x) value = T(normal(random));
  const DeviceArray<T> input(x);
  std::vector<kernels::QuantizedLinearParams> params;
  for (const auto& product : products) params.push_back(product->params(tokens, input.data()));
  kernels::quantized_linears_cuda(params.data(), static_cast<int64_t>(params.size()), nullptr);
  NIBBLE_CHECK_CUDA(cudaDeviceSynchronize());
  for (const auto& product : products) compare(*product, x, tokens, result);
}

struct Shape {
  std::vector<int64_t> rows;  ///< of weights that share an input
  int64_t cols, group_size;
};

void check_all_types(const Shape& shape, int64_t tokens, QuantizedLinearResult& result) {
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    kernels::dispatch_dtype(dtype, [&](auto element) {
      using T = typename decltype(element)::type;
      const auto matrix = [&](GridKind grid, DType scale) {
        return GroupedMatrix{grid, dtype, scale, shape.rows[0], shape.cols, shape.group_size};
      };
      if constexpr (!std::is_same_v<T, float>) {
        check<T>(matrix(GridKind::kSymmetricInt4, dtype), shape.rows, tokens, result);
        check<T>(matrix(GridKind::kSymmetricInt4, DType::kFloat32), shape.rows, tokens, result);
        check<T>(matrix(GridKind::kAffineInt4, DType::kBFloat16), shape.rows, tokens, result);
      }
    });
  }
}

}  // namespace

QuantizedLinearResult check_quantized_linear(bool small_only) {
  QuantizedLinearResult result;
  std::vector<Shape> shapes = {
      {{16}, 128, 32},       {{1}, 32, 32},      {{33}, 160, 32},   {{100}, 4096, 128},
      {{257}, 576, 64},      {{48}, 1536, 1536}, {{31}, 2048, 256}, {{70, 16, 33}, 896, 128},
      {{20, 40}, 4480, 128}, {{17}, 4224, 32}};
  std::vector<int64_t> counts = {1, 2, 3, 8, 9, 16, 17, 32, 33, 64};
  if (!small_only) counts.insert(counts.end(), {65, 128, 129, 300});
  for (const Shape& shape : shapes) {
    for (const int64_t tokens : counts) check_all_types(shape, tokens, result);
  }
  for (const int64_t tokens : {1, 8}) check_all_types({{8200}, 256, 128}, tokens, result);
  if (!small_only) {
    // Few tokens, several row tiles a block: turns of the warps, a ring that comes round, sums
    // added in sections, passes through the columns.
    const std::vector<Shape> long_blocks = {{{8200}, 256, 128},  {{9000, 3001, 2999}, 512, 128},
                                            {{4300}, 4224, 128}, {{20000}, 288, 32},
                                            {{9000}, 2048, 128}, {{49152}, 576, 32}};
    for (const Shape& shape : long_blocks) {
      for (const int64_t tokens : {1, 8, 16}) check_all_types(shape, tokens, result);
    }
    // More tiles than blocks, narrow and wide ones, more of tokens than lie side by side, tails.
    check_all_types({{4000}, 96, 32}, 1100, result);
    check_all_types({{6401}, 96, 32}, 1200, result);
    check_all_types({{8321}, 160, 32}, 310, result);  // the widest
    // The same with whole groups a chunk and many chunks; few tokens' tiles that come round, and
    // those that share a tile's columns out.
    check_all_types({{6401}, 512, 128}, 1200, result);
    check_all_types({{8321}, 512, 128}, 310, result);
    for (const int64_t tokens : {32, 64}) check_all_types({{17000}, 512, 128}, tokens, result);
    // On an H200 tiles of 128 and of 192 tokens whose columns pairs of blocks share, and triples.
    check_all_types({{8191}, 1056, 32}, 120, result);
    check_all_types({{8191}, 1664, 128}, 190, result);
    check_all_types({{4096}, 1664, 128}, 100, result);
    check_all_types({{64}, 14336, 128}, 5, result);
    check_all_types({{14336}, 96, 32}, 640, result);  // the widest, several a block
    check_all_types({{33}, 70400, 32}, 1, result);    // as many groups as there may be
  }
  return result;
}

}  // namespace nibble::tests
