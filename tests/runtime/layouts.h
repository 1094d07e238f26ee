// The same elements in other places: transposed, reversed, padded, strided, offset, with nonsense strides on axes of one
// element. For tests that results depend on values alone.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include <quern/quern.h>

#include "dsl/ir/dtype.h"

namespace quern_test {

enum class Place { dense, transposed, reversed, padded, strided, odd_unit };
inline constexpr Place kPlaces[] = {Place::dense, Place::transposed, Place::reversed, Place::padded, Place::strided, Place::odd_unit};

/// A view with the elements' memory. `offset`: elements between the (64-byte aligned) start of memory and the first one.
struct Placed {
  std::vector<char> memory;
  quern::TensorView view;
};

inline Placed place(const quern::TensorView& values, Place how, int offset = 0) {
  const int rank = values.rank();
  const auto size = static_cast<std::int64_t>(quern::size_of(values.type()));
  quern::Sizes strides = values.shape();
  std::int64_t step = how == Place::strided ? 3 : 1, first = 0;
  for (int k = 0; k < rank; ++k) {
    const int axis = how == Place::transposed ? k : rank - 1 - k;
    strides[axis] = step;
    step *= std::max<std::int64_t>(values.extent(axis), 1) + (how == Place::padded ? 5 : 0);
  }
  if (how == Place::reversed)
    for (int axis = 0; axis < rank; ++axis) {
      first += std::max<std::int64_t>(values.extent(axis) - 1, 0) * strides[axis];
      strides[axis] = -strides[axis];
    }
  if (how == Place::odd_unit)
    for (int axis = 0; axis < rank; ++axis)
      if (values.extent(axis) == 1) strides[axis] = 0x7ffffffffff;
  Placed p;
  p.memory.assign(static_cast<std::size_t>((step + offset + 16) * size + 64), static_cast<char>(0xff));
  char* start = reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(p.memory.data()) + 63) / 64 * 64);
  p.view = quern::TensorView(static_cast<void*>(start + (offset + first) * size), values.type(), values.shape(), strides);
  return p;
}

/// Calls `visit(pointer in a, pointer in b)` for every element of two views of one shape.
template <class F>
void for_each_pair(const quern::TensorView& a, const quern::TensorView& b, F visit) {
  const std::int64_t count = a.count();
  std::int64_t at[quern::max_rank] = {};
  for (std::int64_t n = 0; n < count; ++n) {
    std::int64_t x = 0, y = 0;
    for (int axis = 0; axis < a.rank(); ++axis) {
      x += at[axis] * (a.extent(axis) == 1 ? 0 : a.stride(axis));
      y += at[axis] * (b.extent(axis) == 1 ? 0 : b.stride(axis));
    }
    visit(static_cast<char*>(a.data()) + x * static_cast<std::int64_t>(quern::size_of(a.type())),
          static_cast<char*>(b.data()) + y * static_cast<std::int64_t>(quern::size_of(b.type())));
    for (int axis = a.rank() - 1; axis >= 0; --axis) {
      if (++at[axis] < a.extent(axis)) break;
      at[axis] = 0;
    }
  }
}

inline Placed place_values(const quern::TensorView& values, Place how, int offset = 0) {
  Placed p = place(values, how, offset);
  for_each_pair(values, p.view, [&](const char* from, char* to) { std::memcpy(to, from, quern::size_of(values.type())); });
  return p;
}

/// Largest difference relative to the larger of 1 and the value; integers and equal bits count 0, NaN against a number inf.
inline double difference(const quern::TensorView& a, const quern::TensorView& b) {
  double worst = 0;
  const auto type = static_cast<quern::DType>(a.type());
  for_each_pair(a, b, [&](const char* x, const char* y) {
    const double p = quern::load_as_f64(type, x), q = quern::load_as_f64(type, y);
    if (p == q || (p != p && q != q)) return;
    const double d = std::abs(p - q) / std::max(1.0, std::abs(q));
    worst = d == d ? std::max(worst, d) : std::numeric_limits<double>::infinity();
  });
  return worst;
}

inline quern::Tensor random_tensor(std::mt19937& random, quern::ElementType type, quern::Sizes shape, int integers_below = 8) {
  quern::Tensor t(type, shape);
  const auto inner = static_cast<quern::DType>(type);
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int> integer(0, integers_below - 1);
  for (std::int64_t i = 0; i < t.count(); ++i) {
    void* at = static_cast<char*>(t.data()) + i * static_cast<std::int64_t>(quern::size_of(type));
    if (quern::is_float(inner)) quern::store_from_f64(inner, at, normal(random));
    else quern::store_from_i64(inner, at, integer(random) % (inner == quern::DType::boolean ? 2 : integers_below));
  }
  return t;
}

}  // namespace quern_test
