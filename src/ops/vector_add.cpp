#include "vector_add.h"

#include <ATen/Dispatch.h>

namespace nibble::ops {

void add_range(const at::Tensor& sums, const at::Tensor& values, int64_t begin, int64_t end) {
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, sums.scalar_type(), "add_range", [&] {
    scalar_t* sum = sums.mutable_data_ptr<scalar_t>();
    const scalar_t* value = values.const_data_ptr<scalar_t>();
    for (int64_t i = begin; i < end; ++i) sum[i] = sum[i] + value[i];
  });
}

}  // namespace nibble::ops
