// What the parser accepts at most. Every limit has a diagnostic, so that any text is answered in bounded time and memory.
#pragma once

#include <cstddef>

namespace quern::dsl {

inline constexpr std::size_t kMaxFileBytes = 4u << 20;
inline constexpr std::size_t kMaxTokens = 1u << 18;
inline constexpr std::size_t kMaxNameLength = 255;
inline constexpr int kMaxNesting = 128;     // brackets, unary operators and calls inside one another
inline constexpr int kMaxTreeDepth = 512;   // height of one expression: a + b + c + ... is as high as it is long
inline constexpr std::size_t kMaxRank = 16; // axes of a tensor, subscripts, axes of one reducer
inline constexpr std::size_t kMaxItems = 4096;  // parameters, arguments, list elements, names in <...>

}  // namespace quern::dsl
