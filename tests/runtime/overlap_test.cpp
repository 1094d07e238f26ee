// Overlap against brute force over small strided boxes.
#include <random>
#include <set>

#include "runtime/bind.h"
#include "runtime/overlap.h"
#include "tests/catch.h"

using namespace quern;
using runtime::Overlap;

namespace {

std::vector<std::int64_t> offsets(const TensorView& v) {
  std::vector<std::int64_t> list{0};
  for (int axis = 0; axis < v.rank(); ++axis) {
    std::vector<std::int64_t> next;
    for (std::int64_t o : list)
      for (std::int64_t i = 0; i < v.extent(axis); ++i) next.push_back(o + i * v.stride(axis));
    list = next;
  }
  return list;
}

std::set<std::intptr_t> bytes(const TensorView& v) {
  std::set<std::intptr_t> touched;
  for (std::int64_t o : offsets(v))
    for (std::size_t b = 0; b < size_of(v.type()); ++b)
      touched.insert(reinterpret_cast<std::intptr_t>(v.data()) + o * static_cast<std::int64_t>(size_of(v.type())) + static_cast<std::intptr_t>(b));
  return touched;
}

TensorView random_view(std::mt19937& random, char* storage) {
  const auto pick = [&](int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random); };
  Sizes shape, strides;
  const int rank = pick(0, 3);
  for (int i = 0; i < rank; ++i) {
    shape.push_back(pick(0, 9) ? pick(1, 4) : 0);
    strides.push_back(pick(-7, 9));
  }
  const ElementType type = pick(0, 1) ? f32 : i16;
  return TensorView(static_cast<void*>(storage + pick(0, 20) * (pick(0, 3) ? 4 : 1)), type, shape, strides);
}

}  // namespace

TEST_CASE("overlap agrees with brute force") {
  std::mt19937 random(7);
  char storage[4096];
  int met = 0;
  for (int round = 0; round < 20000; ++round) {
    const TensorView a = random_view(random, storage + 2000), b = random_view(random, storage + 2000);
    const std::set<std::intptr_t> in_a = bytes(a), in_b = bytes(b);
    bool meet = false;
    for (std::intptr_t x : in_a) meet = meet || in_b.count(x);
    met += meet;
    REQUIRE((runtime::overlap_of(a, b) != Overlap::none) == meet);
    const std::vector<std::int64_t> all = offsets(a);
    REQUIRE(runtime::overlaps_itself(a) == (std::set<std::int64_t>(all.begin(), all.end()).size() != all.size()));
    std::int64_t low = 0, high = 0;
    REQUIRE(runtime::byte_range(a, &low, &high));
    if (in_a.empty()) REQUIRE(low == high);
    else {
      REQUIRE(*in_a.begin() == reinterpret_cast<std::intptr_t>(a.data()) + low);
      REQUIRE(*in_a.rbegin() + 1 == reinterpret_cast<std::intptr_t>(a.data()) + high);
    }
  }
  REQUIRE(met > 1000);
}

TEST_CASE("columns of one matrix do not meet, the same view is the same") {
  std::vector<float> m(1 << 16);
  const TensorView all(m, {256, 256});
  CHECK(runtime::overlap_of(all.slice(1, 0, 256, 2), all.slice(1, 1, 256, 2)) == Overlap::none);
  CHECK(runtime::overlap_of(all.slice(1, 0, 128), all.slice(1, 128, 256)) == Overlap::none);
  CHECK(runtime::overlap_of(all.slice(1, 0, 129), all.slice(1, 128, 256)) == Overlap::partial);
  CHECK(runtime::overlap_of(all, all) == Overlap::same);
  CHECK(runtime::overlap_of(all, all.transposed({1, 0})) == Overlap::partial);
  CHECK(runtime::is_dense(all));
  CHECK_FALSE(runtime::is_dense(all.slice(1, 0, 128)));
  CHECK(runtime::unit_axis(all.transposed({1, 0})) == 0);
  // Strides of axes of one element mean nothing.
  CHECK(runtime::is_dense(TensorView(m.data(), {1, 4}, {999, 1})));
  CHECK(runtime::overlap_of(TensorView(m.data(), {1, 4}, {999, 1}), TensorView(m.data(), {1, 4})) == Overlap::same);
}

TEST_CASE("byte ranges beyond 63 bits are seen") {
  const std::int64_t big = std::int64_t{1} << 61;
  std::int64_t low, high;
  CHECK_FALSE(runtime::byte_range(TensorView(static_cast<float*>(nullptr), {3}, {big}), &low, &high));
  CHECK_FALSE(runtime::byte_range(TensorView(static_cast<float*>(nullptr), {big, 4}), &low, &high));
  CHECK(runtime::byte_range(TensorView(static_cast<float*>(nullptr), {1}, {std::numeric_limits<std::int64_t>::min()}), &low, &high));
  CHECK(runtime::byte_range(TensorView(static_cast<float*>(nullptr), {0, big}, {big, big}), &low, &high));
}
