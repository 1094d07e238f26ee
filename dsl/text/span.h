// A byte range in a source text; {0,0} means "no place". The one idea: places are offsets, lines and columns are
// computed only when a message is rendered.
#pragma once

#include <cstdint>

namespace quern {

struct Span {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  bool empty() const { return begin == 0 && end == 0; }
};

/// From the start of `a` to the end of `b`.
inline Span join(Span a, Span b) { return a.empty() ? b : b.empty() ? a : Span{a.begin, b.end}; }

}  // namespace quern
