#include <nibble/kernels/fake_quant_cuda.h>

#include "dequantize_int4.h"
#include "device/map_codes.cuh"
#include "launch.h"

namespace nibble::kernels {
namespace cuda {
namespace {

template <class D, class S, class GradOutput, class GradInput>
struct Gradient : Lanes<D, S> {
  using Source = GradOutput;
  using Target = GradInput;
  template <class Grid, class F, class M>
  static __device__ auto apply(const Grid& grid, F gradient, M in_range) {
    return grid.gradient(gradient, in_range);
  }
};

template <class SourceCode, class Out>
struct Dequantize : Lanes<float, float> {
  using Source = SourceCode;
  using Target = Out;
  template <class Grid>
  static __device__ float apply(const Grid& grid, float value, bool) {
    constexpr bool kPacked = std::is_same_v<Source, PackedInt4>;
    return grid.dequantize(kPacked ? numerics::add(value, Grid::kMinCode) : value);
  }
};

/// The rows from `first` on.
template <class Map, class Source>
MapParams<Source> rows_from(MapParams<Source> p, int64_t first, int64_t rows) {
  const auto& m = p.matrix;
  const int64_t groups = first * (m.cols / m.group_size);
  p.source = row_of(p.source, first, m.cols);
  p.scales = offset_elements(p.scales, m.scale_dtype, groups);
  p.zeros = offset_elements(p.zeros, m.scale_dtype, groups);
  p.in_range = offset(p.in_range, first * mask_row_bytes(m.cols));
  p.target = offset(static_cast<typename Map::Target*>(p.target), first * m.cols);
  p.matrix.rows = rows;
  return p;
}

template <class S, class Grid, class Map>
void launch_map(const MapParams<typename Map::Source>& params, cudaStream_t stream) {
  const auto& m = params.matrix;
  constexpr int64_t kElements = MapChunk<Map>::kElements;
  const bool in_chunks =
      m.group_size % kOctet == 0 && is_aligned(params.source, 16) && is_aligned(params.target, 16);
  const int64_t units_per_row = in_chunks ? m.cols / kElements : mask_row_bytes(m.cols);
  for_each_piece(m.rows, units_per_row, [&](int64_t first, int64_t rows) {
    const auto p = rows_from<Map>(params, first, rows);
    const int64_t units = rows * units_per_row;
    if (in_chunks) {
      const auto blocks =
          static_cast<unsigned>(ceil_divide(units * kElements, kMapThreads * kMapElements));
      map_chunks_kernel<S, Grid, Map><<<blocks, kMapThreads, 0, stream>>>(
          p, static_cast<uint32_t>(units),
          Divider(static_cast<uint32_t>(m.group_size / kElements)));
    } else {
      const auto blocks = static_cast<unsigned>(ceil_divide(units, kMapThreads));
      map_any_shape_kernel<S, Grid, Map><<<blocks, kMapThreads, 0, stream>>>(p);
    }
    check_launch("fake_quantize_backward or dequantize");
  });
}

}  // namespace
}  // namespace cuda

void fake_quantize_backward_cuda(const FakeQuantBackwardParams& p, CUstream_st* stream) {
  dispatch_grid(p.matrix, [&](auto element, auto scale, auto grid) {
    dispatch_gradients(p, element, [&](auto output, auto input) {
      using GradOutput = typename decltype(output)::type;
      using S = typename decltype(scale)::type;
      using Map = cuda::Gradient<typename decltype(element)::type, S, GradOutput,
                                 typename decltype(input)::type>;
      using Params = cuda::MapParams<GradOutput>;
      cuda::launch_map<S, typename decltype(grid)::type, Map>(
          Params{p.matrix, static_cast<const GradOutput*>(p.grad_output), p.scales, nullptr,
                 p.in_range, p.grad_input},
          stream);
    });
  });
}

void dequantize_cuda(const DequantizeParams& p, CUstream_st* stream) {
  check_packing(p.matrix, p.packed_codes);
  if (cuda::can_dequantize_int4(p)) return cuda::dequantize_int4(p, stream);
  dispatch_grid(p.matrix, [&](auto element, auto scale, auto grid) {
    dispatch_dequantized(p, element, [&](auto output) {
      const auto launch = [&](const auto* codes) {
        using Source = std::remove_cv_t<std::remove_pointer_t<decltype(codes)>>;
        using Map = cuda::Dequantize<Source, typename decltype(output)::type>;
        cuda::launch_map<typename decltype(scale)::type, typename decltype(grid)::type, Map>(
            {p.matrix, codes, p.scales, p.zeros, nullptr, p.output}, stream);
      };
      if (p.packed_codes == nullptr) {
        launch(p.codes);
      } else {
        launch(reinterpret_cast<const cuda::PackedInt4*>(p.packed_codes));
      }
    });
  });
}

}  // namespace nibble::kernels
