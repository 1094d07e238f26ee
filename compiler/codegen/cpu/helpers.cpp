// What kernels call through a pointer: selection and sorting of a row, and the report of a failed data check.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "compiler/codegen/cpu/helpers.h"
#include "dsl/ir/dtype.h"

namespace quern::cpu {
namespace {

/// Whether x stands before y in descending order, NaN first; equal ones keep their order.
template <class T>
bool larger(T x, T y) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(x)) return !std::isnan(y);
    if (std::isnan(y)) return false;
  }
  return x > y;
}

template <class T>
void select_row(const T* row, const std::uint8_t* live, std::int64_t n, std::int64_t k, bool sort, T* values, std::int32_t* positions) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(std::max<std::int64_t>(n, 0)));
  std::iota(order.begin(), order.end(), 0);
  if (live) std::erase_if(order, [&](std::int32_t i) { return !live[i]; });
  const std::int64_t count = std::clamp<std::int64_t>(k, 0, static_cast<std::int64_t>(order.size()));
  if (sort) {
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return larger(row[b], row[a]); });
  } else {
    // Descending, ties by position: a total order, so that a partial sort is stable.
    std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](std::int32_t a, std::int32_t b) {
      if (larger(row[a], row[b])) return true;
      return !larger(row[b], row[a]) && a < b;
    });
  }
  T none = std::numeric_limits<T>::lowest();
  if constexpr (std::is_floating_point_v<T>) none = -std::numeric_limits<T>::infinity();
  // The source row may be the target.
  std::vector<T> taken(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) taken[static_cast<std::size_t>(i)] = row[order[static_cast<std::size_t>(i)]];
  for (std::int64_t i = 0; i < k; ++i) {
    if (values) values[i] = i < count ? taken[static_cast<std::size_t>(i)] : none;
    if (positions) positions[i] = i < count ? order[static_cast<std::size_t>(i)] : -1;
  }
}

void select(std::int32_t dtype, const void* row, const std::uint8_t* live, std::int64_t n, std::int64_t k, std::int32_t sort, void* values,
            std::int32_t* positions) {
  auto run = [&]<class T>(T) {
    select_row(static_cast<const T*>(row), live, n, k, sort != 0, static_cast<T*>(values), positions);
  };
  switch (static_cast<DType>(dtype)) {
    case DType::f64: return run(double{});
    case DType::f32: return run(float{});
    case DType::i64: return run(std::int64_t{});
    case DType::i32: return run(std::int32_t{});
    case DType::i16: return run(std::int16_t{});
    case DType::i8: return run(std::int8_t{});
    case DType::u8:
    case DType::boolean: return run(std::uint8_t{});
    default: return;  // small floats are widened before they are selected from
  }
}

void report(Status* status, std::uint32_t tensor, std::int32_t axis, std::int64_t value, std::int64_t extent, std::uint32_t source,
            std::int32_t rank, const std::int64_t* position) {
  std::atomic_ref<std::int32_t> state(status->state);
  std::int32_t none = 0;
  if (!state.compare_exchange_strong(none, 1)) return;
  status->tensor = tensor;
  status->axis = axis;
  status->source = source;
  status->value = value;
  status->extent = extent;
  status->rank = rank;
  for (std::int32_t i = 0; i < rank && i < 8; ++i) status->position[i] = position[i];
  state.store(2);
}

}  // namespace

const Helpers& default_helpers() {
  static const Helpers helpers{select, report};
  return helpers;
}

}  // namespace quern::cpu
