#pragma once

#include <cstdint>

/// llama.cpp's enum llama_token_type.
namespace nibble::io {

inline constexpr int32_t kNormalToken = 1;
inline constexpr int32_t kControlToken = 3;
inline constexpr int32_t kUserDefinedToken = 4;
inline constexpr int32_t kUnusedToken = 5;

}  // namespace nibble::io
