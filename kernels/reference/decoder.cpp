#include "decoder.h"

#include <algorithm>
#include <cmath>

#include "../cpu/decoder_loops.h"
#include "../grid_dispatch.h"

namespace nibble::kernels::reference {

void rms_norm(const RmsNormParams& p, int64_t row_begin, int64_t row_end) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    const D* weight = static_cast<const D*>(p.weight);
    for (int64_t row = row_begin; row < row_end; ++row) {
      const D* input = static_cast<const D*>(p.input) + row * p.cols;
      D* output = static_cast<D*>(p.output) + row * p.cols;
      float sum = 0.0f;
      for (int64_t col = 0; col < p.cols; ++col) {
        const float value = static_cast<float>(input[col]);
        sum += value * value;
      }
      const float inverse = 1.0f / std::sqrt(sum / static_cast<float>(p.cols) + p.eps);
      for (int64_t col = 0; col < p.cols; ++col) {
        const float factor = p.weight_offset + static_cast<float>(weight[col]);
        output[col] = D(static_cast<float>(input[col]) * inverse * factor);
      }
    }
  });
}

void swiglu(const SwigluParams& p, int64_t begin, int64_t end) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    for (int64_t i = begin; i < end; ++i) {
      const float gate = static_cast<float>(static_cast<const D*>(p.gate)[i]);
      const float up = static_cast<float>(static_cast<const D*>(p.up)[i]);
      const D activated(gate / (1.0f + std::exp(-gate)));
      static_cast<D*>(p.output)[i] = D(static_cast<float>(activated) * up);
    }
  });
}

void rotate(const RotaryParams& p, int64_t token_begin, int64_t token_end) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    cpu::for_each_head<D>(p, token_begin, token_end,
                          [&](const D* input, const D* cos, const D* sin, D* output) {
                            cpu::rotate_elements(input, cos, sin, p.rotary_dim / 2, 0, output);
                          });
  });
}

namespace {

template <class D>
void attend_one(const SingleQueryAttentionParams& p, const D* query, const D* key, const D* value,
                const D* bias, float* weights, D* output) {
  float largest = -INFINITY;
  for (int64_t k = 0; k < p.keys; ++k) {
    float product = 0.0f;
    for (int64_t i = 0; i < p.head_dim; ++i) {
      product += static_cast<float>(query[i]) * static_cast<float>(key[k * p.head_dim + i]);
    }
    weights[k] = p.scale * product + (bias != nullptr ? static_cast<float>(bias[k]) : 0.0f);
    largest = std::max(largest, weights[k]);
  }
  float sum = 0.0f;
  for (int64_t k = 0; k < p.keys; ++k) sum += weights[k] = std::exp(weights[k] - largest);
  for (int64_t i = 0; i < p.head_dim; ++i) {
    float total = 0.0f;
    for (int64_t k = 0; k < p.keys; ++k) {
      total += weights[k] * static_cast<float>(value[k * p.head_dim + i]);
    }
    output[i] = D(total / sum);
  }
}

}  // namespace

void single_query_attention(const SingleQueryAttentionParams& p, int64_t begin, int64_t end,
                            void* scratch) {
  dispatch_dtype(p.dtype, [&](auto element) {
    using D = typename decltype(element)::type;
    cpu::for_each_query<D>(
        p, begin, end, [&](const D* query, const D* key, const D* value, const D* bias, D* output) {
          attend_one<D>(p, query, key, value, bias, static_cast<float*>(scratch), output);
        });
  });
}

}  // namespace nibble::kernels::reference
