// Bounded search for a common element of two strided boxes. See overlap.h.
#include "runtime/overlap.h"

#include <algorithm>

#include "runtime/bind.h"

namespace quern::runtime {
namespace {

using Wide = __int128;

struct Term {
  std::int64_t stride;   // bytes, > 0
  std::int64_t low, high;  // of the subscript (or difference of subscripts)
};

struct Search {
  Term terms[2 * max_rank];
  int count = 0;
  Wide rest_low[2 * max_rank + 1], rest_high[2 * max_rank + 1];  // reach of the terms from i on
  int budget = 20000;

  void add(std::int64_t stride, std::int64_t low, std::int64_t high) {
    if (low == high && low == 0) return;
    if (stride < 0) {
      stride = -stride;
      std::swap(low, high);
      low = -low;
      high = -high;
    }
    // Terms of one stride are one term: their sum takes every value between the bounds.
    for (int i = 0; i < count; ++i)
      if (terms[i].stride == stride) {
        terms[i].low += low;
        terms[i].high += high;
        return;
      }
    terms[count++] = {stride, low, high};
  }
  void finish() {
    std::sort(terms, terms + count, [](const Term& a, const Term& b) { return a.stride > b.stride; });
    rest_low[count] = rest_high[count] = 0;
    for (int i = count - 1; i >= 0; --i) {
      rest_low[i] = rest_low[i + 1] + Wide{terms[i].stride} * terms[i].low;
      rest_high[i] = rest_high[i + 1] + Wide{terms[i].stride} * terms[i].high;
    }
  }
  /// Some choice of subscripts sums to a value in [low, high]. `nonzero`: not all of them 0. When the search is cut off
  /// the answer is yes: refusing is safe.
  bool solve(int i, Wide low, Wide high, bool nonzero) {
    if (--budget < 0) return true;
    if (rest_low[i] > high || rest_high[i] < low) return false;
    if (i == count) return !nonzero;
    const Term& t = terms[i];
    // t.stride * x must lie in [low - rest_high, high - rest_low].
    const Wide a = low - rest_high[i + 1], b = high - rest_low[i + 1];
    const Wide s = t.stride;
    Wide first = s == 0 ? Wide{t.low} : (a >= 0 ? (a + s - 1) / s : -((-a) / s));
    Wide last = s == 0 ? Wide{t.high} : (b >= 0 ? b / s : -((-b + s - 1) / s));
    first = std::max(first, Wide{t.low});
    last = std::min(last, Wide{t.high});
    for (Wide x = first; x <= last; ++x) {
      if (solve(i + 1, low - s * x, high - s * x, nonzero && x == 0)) return true;
      if (budget < 0) return true;
    }
    return false;
  }
};

bool is_empty(const TensorView& v) {
  for (std::int64_t extent : v.shape())
    if (extent == 0) return true;
  return false;
}

bool same_layout(const TensorView& a, const TensorView& b) {
  if (a.type() != b.type() || a.data() != b.data() || !(a.shape() == b.shape())) return false;
  for (int axis = 0; axis < a.rank(); ++axis)
    if (a.extent(axis) > 1 && a.stride(axis) != b.stride(axis)) return false;
  return true;
}

}  // namespace

Overlap overlap_of(const TensorView& a, const TensorView& b) {
  std::int64_t a_low, a_high, b_low, b_high;
  if (!byte_range(a, &a_low, &a_high) || !byte_range(b, &b_low, &b_high)) return Overlap::partial;
  if (a_low == a_high || b_low == b_high) return Overlap::none;
  const auto at_a = reinterpret_cast<std::intptr_t>(a.data()), at_b = reinterpret_cast<std::intptr_t>(b.data());
  if (Wide{at_a} + a_high <= Wide{at_b} + b_low || Wide{at_b} + b_high <= Wide{at_a} + a_low) return Overlap::none;
  if (same_layout(a, b)) return Overlap::same;
  const auto a_size = static_cast<std::int64_t>(size_of(a.type())), b_size = static_cast<std::int64_t>(size_of(b.type()));
  Search search;
  for (int axis = 0; axis < a.rank(); ++axis) search.add(a.stride(axis) * a_size, 0, a.extent(axis) - 1);
  for (int axis = 0; axis < b.rank(); ++axis) search.add(-b.stride(axis) * b_size, 0, b.extent(axis) - 1);
  search.finish();
  // Bytes [at_a + x, + a_size) and [at_b + y, + b_size) meet when x - y lies in (at_b - at_a - a_size, at_b - at_a + b_size).
  const Wide distance = Wide{at_b} - at_a;
  return search.solve(0, distance - a_size + 1, distance + b_size - 1, false) ? Overlap::partial : Overlap::none;
}

bool overlaps_itself(const TensorView& v) {
  if (is_empty(v) || is_dense(v)) return false;
  const auto size = static_cast<std::int64_t>(size_of(v.type()));
  for (int a = 0; a < v.rank(); ++a)
    for (int b = 0; b < a; ++b)
      if (v.extent(a) > 1 && v.extent(b) > 1 && (v.stride(a) == v.stride(b) || v.stride(a) == -v.stride(b))) return true;
  Search search;
  for (int axis = 0; axis < v.rank(); ++axis)
    if (v.extent(axis) > 1) search.add(v.stride(axis) * size, -(v.extent(axis) - 1), v.extent(axis) - 1);
  search.finish();
  return search.solve(0, -(size - 1), size - 1, true);
}

bool is_dense(const TensorView& v) {
  if (is_empty(v)) return true;
  std::int64_t step = 1;
  for (int axis = v.rank() - 1; axis >= 0; --axis) {
    if (v.extent(axis) == 1) continue;
    if (v.stride(axis) != step) return false;
    step *= v.extent(axis);
  }
  return true;
}

int unit_axis(const TensorView& v) {
  for (int axis = v.rank() - 1; axis >= 0; --axis)
    if (v.extent(axis) > 1 && v.stride(axis) == 1) return axis;
  return -1;
}

}  // namespace quern::runtime
