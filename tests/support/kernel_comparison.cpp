#include "support/kernel_comparison.h"

#include <nibble/numerics/float_types.h>
#include <nibble/numerics/pack_int4.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <random>

#include "grid_dispatch.h"

namespace nibble::tests {
namespace {

using kernels::DType;
using kernels::GridKind;
using kernels::Tag;

constexpr DType kDTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};
constexpr auto kGuard = static_cast<unsigned char>(0xa5);
constexpr size_t kGuardBytes = 64;

size_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

/// A buffer between two guards that no kernel may touch.
class GuardedBuffer {
 public:
  GuardedBuffer(size_t count, size_t element_bytes, bool misaligned)
      : first_(kGuardBytes + (misaligned ? element_bytes : 0)),
        bytes_(count * element_bytes),
        storage_((first_ + bytes_ + kGuardBytes) / sizeof(std::max_align_t) + 1) {
    std::memset(storage_.data(), kGuard, storage_.size() * sizeof(std::max_align_t));
  }

  template <class T = void>
  T* data() {
    return reinterpret_cast<T*>(reinterpret_cast<unsigned char*>(storage_.data()) + first_);
  }
  size_t bytes() const { return bytes_; }

  bool guards_are_intact() {
    const auto* all = reinterpret_cast<const unsigned char*>(storage_.data());
    const auto is_guard = [](unsigned char byte) { return byte == kGuard; };
    return std::all_of(all, all + first_, is_guard) &&
           std::all_of(all + first_ + bytes_, all + storage_.size() * sizeof(std::max_align_t),
                       is_guard);
  }

 private:
  size_t first_;
  size_t bytes_;
  std::vector<std::max_align_t> storage_;
};

class ValueSource {
 public:
  ValueSource(Values values, uint64_t seed) : values_(values), random_(seed) {}

  void begin_row() { row_scale_ = std::ldexp(1.0f, static_cast<int>(random_() % 40) - 20); }

  template <class T>
  T next() {
    switch (values_) {
      case Values::kNormal:
        return T(normal_(random_) * row_scale_);
      case Values::kHalves:
        return T(static_cast<float>(static_cast<int>(random_() % 65) - 32) * 0.5f);
      case Values::kRawBits:
        return finite_bits<T>();
      case Values::kSpecial:
        return special<T>();
      case Values::kTiny:
        return T(random_() % 4 == 0 ? 0.0f : normal_(random_) * 1e-6f);
    }
    fail("unknown kind of values");
  }

 private:
  template <class T>
  T finite_bits() {
    for (;;) {
      const uint64_t bits = random_();
      T value;
      std::memcpy(&value, &bits, sizeof(value));
      if (std::isfinite(static_cast<float>(value))) return value;
    }
  }

  template <class T>
  T special() {
    using Limits = std::numeric_limits<float>;
    const float choices[] = {0.0f, -0.0f, Limits::denorm_min(), -1e-40f, 3e-5f, -6e-8f, 1e-38f};
    const uint64_t draw = random_();
    if (draw % 97 == 0) return T(Limits::quiet_NaN());
    if (draw % 89 == 0) return T(draw % 2 ? Limits::infinity() : -Limits::infinity());
    if (draw % 3 == 0) return T(choices[draw / 3 % std::size(choices)]);
    return T(normal_(random_));
  }

  Values values_;
  std::mt19937_64 random_;
  std::normal_distribution<float> normal_;
  float row_scale_ = 1.0f;
};

void fill(DType dtype, void* data, int64_t rows, int64_t cols, ValueSource& source) {
  kernels::dispatch_dtype(dtype, [&](auto element) {
    using T = typename decltype(element)::type;
    for (int64_t row = 0; row < rows; ++row) {
      source.begin_row();
      for (int64_t col = 0; col < cols; ++col) {
        static_cast<T*>(data)[row * cols + col] = source.next<T>();
      }
    }
  });
}

template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0 ||
         (std::isnan(static_cast<float>(a)) && std::isnan(static_cast<float>(b)));
}

/// Compares and reports the buffers of one configuration.
class Comparison {
 public:
  Comparison(const KernelSet& expected, const KernelSet& actual, const ComparisonShape& shape,
             ComparisonResult& result)
      : expected_(expected), actual_(actual), shape_(shape), result_(result) {}

  void run(GridKind grid, DType dtype, DType scale_dtype, DType output_dtype, Values values,
           uint64_t seed) {
    m_ = {grid, dtype, scale_dtype, shape_.rows, shape_.cols, shape_.group_size};
    output_dtype_ = output_dtype;
    ValueSource source(values, seed);
    const int64_t stride = shape_.cols + shape_.row_padding;
    GuardedBuffer input = buffer(m_.rows * stride, dtype);
    fill(dtype, input.data(), m_.rows, stride, source);

    Outputs want = outputs(), got = outputs();
    fake_quantize(expected_, input, stride, want);
    fake_quantize(actual_, input, stride, got);
    dequantize_all(expected_, want, want);
    dequantize_all(actual_, want, got);

    compare(output_dtype, "output", want.values, got.values);
    compare(scale_dtype, "scales", want.scales, got.scales);
    compare(scale_dtype, "zeros", want.zeros, got.zeros);
    compare_bytes("codes", want.codes, got.codes);
    compare_bytes("in_range", want.in_range, got.in_range);
    compare(dtype, "dequantized", want.dequantized, got.dequantized);
    compare_packed(want, got);
    check_single_outputs(input, stride, want);
    check_backward(dtype, dtype, source, want);
    if (dtype == DType::kFloat32) {
      check_backward(DType::kBFloat16, DType::kFloat32, source, want);
      check_backward(DType::kBFloat16, DType::kBFloat16, source, want);
    }
  }

 private:
  struct Outputs {
    GuardedBuffer values, scales, zeros, codes, packed_codes, in_range, dequantized,
        dequantized_packed, dequantized_narrow;
  };

  int64_t elements() const { return m_.rows * m_.cols; }
  int64_t groups() const { return m_.rows * (m_.cols / m_.group_size); }

  GuardedBuffer buffer(int64_t count, DType dtype) const {
    return {static_cast<size_t>(count), bytes_of(dtype), shape_.misaligned};
  }
  GuardedBuffer byte_buffer(int64_t count) const {
    return {static_cast<size_t>(count), 1, shape_.misaligned};
  }
  Outputs outputs() const {
    return {buffer(elements(), output_dtype_),
            buffer(groups(), m_.scale_dtype),
            buffer(groups(), m_.scale_dtype),
            byte_buffer(elements()),
            byte_buffer(m_.rows * numerics::packed_row_bytes(m_.cols)),
            byte_buffer(m_.rows * kernels::mask_row_bytes(m_.cols)),
            buffer(elements(), m_.dtype),
            buffer(elements(), m_.dtype),
            buffer(elements(), DType::kBFloat16)};
  }

  kernels::FakeQuantParams forward_params(GuardedBuffer& input, int64_t stride) const {
    kernels::FakeQuantParams p;
    p.matrix = m_;
    p.input = input.data();
    p.input_row_stride = stride;
    p.output_dtype = output_dtype_;
    return p;
  }
  void fake_quantize(const KernelSet& kernels, GuardedBuffer& input, int64_t stride,
                     Outputs& out) const {
    kernels::FakeQuantParams p = forward_params(input, stride);
    p.output = out.values.data();
    p.scales = out.scales.data();
    p.zeros = out.zeros.data();
    p.codes = out.codes.data<int8_t>();
    if (is_int4()) p.packed_codes = out.packed_codes.data<uint8_t>();
    p.in_range = out.in_range.data<uint8_t>();
    kernels.fake_quantize(p);
  }
  void check_backward(DType output_dtype, DType input_dtype, ValueSource& source,
                      Outputs& forward) {
    GuardedBuffer upstream = buffer(elements(), output_dtype);
    fill(output_dtype, upstream.data(), m_.rows, m_.cols, source);
    GuardedBuffer want = buffer(elements(), input_dtype), got = buffer(elements(), input_dtype);
    for (const auto& [kernels, gradient] : {std::pair{&expected_, &want}, {&actual_, &got}}) {
      kernels->fake_quantize_backward({m_, upstream.data(), forward.scales.data(),
                                       forward.in_range.data<uint8_t>(), gradient->data(),
                                       output_dtype, input_dtype});
    }
    compare(input_dtype, output_dtype == input_dtype ? "grad_input" : "mixed grad_input", want,
            got);
  }
  bool is_int4() const { return m_.grid != GridKind::kAsymmetricInt8; }

  /// From codes, from packed codes, and, of a float32 matrix, from those to bfloat16.
  void dequantize_all(const KernelSet& kernels, Outputs& forward, Outputs& out) const {
    kernels::DequantizeParams p;
    p.matrix = m_;
    p.scales = forward.scales.data();
    p.zeros = m_.grid == GridKind::kSymmetricInt4 ? nullptr : forward.zeros.data();
    p.codes = forward.codes.data<int8_t>();
    p.output = out.dequantized.data();
    kernels.dequantize(p);
    if (!is_int4()) return;
    p.codes = nullptr;
    p.packed_codes = forward.packed_codes.data<uint8_t>();
    p.output = out.dequantized_packed.data();
    kernels.dequantize(p);
    if (m_.dtype != DType::kFloat32) return;
    p.output_dtype = DType::kBFloat16;
    p.output = out.dequantized_narrow.data();
    kernels.dequantize(p);
  }

  void compare_packed(Outputs& want, Outputs& got) {
    if (!is_int4()) return;
    compare_bytes("packed_codes", want.packed_codes, got.packed_codes);
    compare(m_.dtype, "dequantized from packed codes", want.dequantized, got.dequantized_packed);
    if (m_.dtype != DType::kFloat32) return;
    compare(DType::kBFloat16, "dequantized to bfloat16", want.dequantized_narrow,
            got.dequantized_narrow);
  }

  /// Each output alone, the others null.
  void check_single_outputs(GuardedBuffer& input, int64_t stride, Outputs& want) {
    Outputs got = outputs();
    kernels::FakeQuantParams p = forward_params(input, stride);
    p.output = got.values.data();
    actual_.fake_quantize(p);
    p = forward_params(input, stride);
    p.codes = got.codes.data<int8_t>();
    actual_.fake_quantize(p);
    p = forward_params(input, stride);
    p.in_range = got.in_range.data<uint8_t>();
    actual_.fake_quantize(p);
    compare(output_dtype_, "output alone", want.values, got.values);
    if (is_int4()) {
      p = forward_params(input, stride);
      p.packed_codes = got.packed_codes.data<uint8_t>();
      actual_.fake_quantize(p);
      compare_bytes("packed_codes alone", want.packed_codes, got.packed_codes);
    }
    compare_bytes("codes alone", want.codes, got.codes);
    compare_bytes("in_range alone", want.in_range, got.in_range);
  }

  void compare(DType dtype, const char* name, GuardedBuffer& want, GuardedBuffer& got) {
    kernels::dispatch_dtype(dtype, [&](auto element) {
      compare_as<typename decltype(element)::type>(name, want, got);
    });
  }

  template <class T>
  void compare_as(const char* name, GuardedBuffer& want, GuardedBuffer& got) {
    const auto count = static_cast<int64_t>(want.bytes() / sizeof(T));
    const T* a = want.data<const T>();
    const T* b = got.data<const T>();
    int64_t different = 0, first = -1;
    for (int64_t i = 0; i < count; ++i) {
      if (same(a[i], b[i])) continue;
      if (first < 0) first = i;
      ++different;
    }
    result_.values += count;
    if (different > 0) {
      report(name,
             detail::concat(different, " of ", count, " differ, first at ", first, ": expected ",
                            static_cast<float>(a[first]), ", got ", static_cast<float>(b[first])));
    }
    if (!got.guards_are_intact()) report(name, "written outside the buffer");
  }
  void compare_bytes(const char* name, GuardedBuffer& want, GuardedBuffer& got) {
    compare_as<uint8_t>(name, want, got);
  }

  void report(const char* name, const std::string& problem) {
    result_.failures.push_back(detail::concat(
        actual_.name, " against ", expected_.name, ": grid ", static_cast<int>(m_.grid), " dtype ",
        static_cast<int>(m_.dtype), " scales ", static_cast<int>(m_.scale_dtype), " output dtype ",
        static_cast<int>(output_dtype_), " [", m_.rows, ", ", m_.cols, "] group ", m_.group_size,
        " padding ", shape_.row_padding, shape_.misaligned ? " misaligned: " : ": ", name, ": ",
        problem));
  }

  const KernelSet& expected_;
  const KernelSet& actual_;
  const ComparisonShape& shape_;
  ComparisonResult& result_;
  kernels::GroupedMatrix m_;
  DType output_dtype_ = DType::kFloat32;
};

}  // namespace

ComparisonResult compare_kernels(const KernelSet& expected, const KernelSet& actual,
                                 const ComparisonShape& shape, Values values, uint64_t seed) {
  ComparisonResult result;
  Comparison comparison(expected, actual, shape, result);
  for (const DType dtype : kDTypes) {
    for (const DType output : kDTypes) {
      for (const DType scale : kDTypes) {
        comparison.run(GridKind::kSymmetricInt4, dtype, scale, output, values, seed);
      }
      comparison.run(GridKind::kAffineInt4, dtype, DType::kBFloat16, output, values, seed);
      comparison.run(GridKind::kAsymmetricInt8, dtype, DType::kFloat32, output, values, seed);
    }
  }
  return result;
}

const std::vector<ComparisonShape>& comparison_shapes() {
  static const std::vector<ComparisonShape> shapes = {
      {0, 64, 32},
      {3, 0, 32},
      {1, 1, 1},
      {5, 12, 3},
      {4, 64, 32},
      {3, 96, 32, 5},
      {2, 128, 64, 8},
      {3, 256, 128},
      {2, 512, 256, 0, true},
      {2, 200, 100},
      {3, 77, 77},
      {2, 77, 7, 3},
      {3, 90, 18, 0, true},
      {2, 1000, 1000, 24},
      {5, 2048, 2048},
      {1, 4100, 4100, 1, true},
      {2, 160, 160},
      {3, 48, 16},
      {2, 1536, 192},
      {2, 640, 320},
      {2, 576, 32},
      {2, 185, 5},
  };
  return shapes;
}

}  // namespace nibble::tests
