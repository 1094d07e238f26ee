// Functions made ahead of time give what the same text gives when it is compiled at run time, bit for bit, for every target
// that runs here and every layout.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include <quern/quern.h>

#include "kernels.h"
#include "runtime/aot/processor.h"
#include "tests/catch.h"
#include "tests/command/process.h"

using quern::TensorView;

namespace {

std::vector<float> random_values(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator);
  return values;
}

struct Level {
  const char* ahead;
  const char* jit;
};
std::vector<Level> levels() {
  std::vector<Level> list;
  const int most = quern::runtime::aot::level_of_processor();
  if (most >= 2) list.push_back({"x86-64-v2", "baseline"});
  if (most >= 3) list.push_back({"x86-64-v3", "avx2"});
  if (most >= 4) list.push_back({"x86-64-v4", "avx512"});
  return list;
}

const std::string& text() {
  static const std::string text = content_of(QUERN_SOURCE_DIR "/tests/aot/kernels.quern");
  return text;
}

quern_call on(const char* target) {
  quern_call call{};
  call.target = target;
  return call;
}

}  // namespace

TEST_CASE("attention: values, targets, layouts") {
  REQUIRE(levels().size() >= 1);
  for (const Level& level : levels()) {
    const quern_call call = on(level.ahead);
    for (const std::int64_t d : {16, 64})
      for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{37, 41}, {1, 1}, {65, 129}, {5, 0}, {0, 5}}) {
        const auto q = random_values(static_cast<std::size_t>(2 * m * d), 1), k = random_values(static_cast<std::size_t>(n * d), 2);
        const auto v = random_values(static_cast<std::size_t>(n * d), 3);
        const quern::Kernel jit(text(), "attention", quern::Options().for_target(level.jit));
        INFO(level.ahead << " M=" << m << " N=" << n << " D=" << d);
        const auto count = static_cast<std::size_t>(m * d);
        std::vector<float> wanted(count), found(count, NAN);
        // Dense.
        jit(TensorView(q.data(), {m, d}), TensorView(k.data(), {n, d}), TensorView(v.data(), {n, d}), quern::out(TensorView(wanted.data(), {m, d})));
        REQUIRE(a_attention(d, m, n, q.data(), nullptr, k.data(), nullptr, v.data(), nullptr, nullptr, found.data(), nullptr, &call) == QUERN_OK);
        CHECK(std::memcmp(wanted.data(), found.data(), count * sizeof(float)) == 0);
        // Every other row of q, a scale of one's own.
        const float scale = 0.25f;
        const std::int64_t rows[2] = {2 * d, 1};
        jit(TensorView(q.data(), {m, d}, {2 * d, 1}), TensorView(k.data(), {n, d}), TensorView(v.data(), {n, d}), scale, quern::out(TensorView(wanted.data(), {m, d})));
        std::fill(found.begin(), found.end(), NAN);
        REQUIRE(a_attention(d, m, n, q.data(), rows, k.data(), nullptr, v.data(), nullptr, &scale, found.data(), nullptr, &call) == QUERN_OK);
        for (std::size_t i = 0; i < count; ++i) CHECK(std::abs(wanted[i] - found[i]) <= 2e-6f);
        // Columns first, keys backwards.
        if (n == 0) continue;
        const std::int64_t columns[2] = {1, m == 0 ? 1 : m}, back[2] = {-d, 1};
        const float* last = k.data() + (n - 1) * d;
        jit(TensorView(q.data(), {m, d}, {columns[0], columns[1]}), TensorView(last, {n, d}, {-d, 1}), TensorView(v.data(), {n, d}), quern::out(TensorView(wanted.data(), {m, d})));
        std::fill(found.begin(), found.end(), NAN);
        REQUIRE(a_attention(d, m, n, q.data(), columns, last, back, v.data(), nullptr, nullptr, found.data(), nullptr, &call) == QUERN_OK);
        for (std::size_t i = 0; i < count; ++i) CHECK(std::abs(wanted[i] - found[i]) <= 2e-6f);
      }
  }
}

TEST_CASE("element types are functions of their own, sizes divide") {
  const auto x = random_values(6 * 5, 7), w = random_values(3, 8);
  std::vector<float> o(2 * 5);
  REQUIRE(a_grouped_f32(2, 3, 5, x.data(), nullptr, w.data(), nullptr, o.data(), nullptr, nullptr) == QUERN_OK);
  for (int j = 0; j < 2; ++j)
    for (int n = 0; n < 5; ++n) {
      double sum = 0;
      for (int g = 0; g < 3; ++g) sum += double{x[static_cast<std::size_t>((j * 3 + g) * 5 + n)]} * w[static_cast<std::size_t>(g)];
      CHECK(o[static_cast<std::size_t>(j * 5 + n)] == Approx(sum).margin(1e-6));
    }
  const quern_f16 one = 0x3c00, two = 0x4000;
  const std::vector<quern_f16> h(6 * 5, one), hw(3, two);
  std::vector<quern_f16> ho(2 * 5);
  REQUIRE(a_grouped_f16(2, 3, 5, h.data(), nullptr, hw.data(), nullptr, ho.data(), nullptr, nullptr) == QUERN_OK);
  for (const quern_f16 value : ho) CHECK(value == 0x4600);  // 6
}

TEST_CASE("inout, numbers of every kind, two outputs, rank 0, compile-time integers and flags") {
  std::vector<float> x{1, 2, 3, 4, 5, 9};
  double mean_of[2];
  REQUIRE(a_normalise(2, 3, x.data(), nullptr, 0.5, -2, mean_of, nullptr, nullptr) == QUERN_OK);
  CHECK(x == std::vector<float>{-1, 0, 1, -2, -1, 3});
  CHECK(mean_of[0] == 0.5);
  CHECK(mean_of[1] == 4.5);

  const std::vector<float> y{1, 2, 3, 4, 5, 6};
  std::vector<float> o(4);
  REQUIRE(a_band(3, 0, 6, y.data(), nullptr, o.data(), nullptr, nullptr) == QUERN_OK);
  CHECK(o == std::vector<float>{6, 9, 12, 15});
  o.resize(2);
  REQUIRE(a_band(5, 1, 6, y.data(), nullptr, o.data(), nullptr, nullptr) == QUERN_OK);
  CHECK(o == std::vector<float>{30, 40});

  std::vector<float> top(4);
  std::vector<std::int32_t> at(4);
  const std::vector<float> z{3, 7, 5, 1, 1, 2};
  REQUIRE(a_largest(2, 3, z.data(), nullptr, top.data(), nullptr, at.data(), nullptr, nullptr) == QUERN_OK);
  CHECK(top == std::vector<float>{7, 5, 2, 1});
  CHECK(at == std::vector<std::int32_t>{1, 2, 2, 0});

  float sum = 0;
  REQUIRE(a_total(6, y.data(), nullptr, &sum, nullptr) == QUERN_OK);
  CHECK(sum == 21);
}

TEST_CASE("many threads call for the first time") {
  const std::int64_t m = 50, n = 70, d = 64;
  const auto q = random_values(static_cast<std::size_t>(m * d), 1), k = random_values(static_cast<std::size_t>(n * d), 2);
  std::vector<std::vector<float>> results(8, std::vector<float>(static_cast<std::size_t>(m * d)));
  std::vector<int> statuses(8, -1);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        quern_call call{};
        call.threads = static_cast<std::int32_t>(t % 3);
        statuses[t] = a_attention(d, m, n, q.data(), nullptr, k.data(), nullptr, k.data(), nullptr, nullptr, results[t].data(), nullptr, &call);
      }
    });
  for (std::thread& t : threads) t.join();
  for (std::size_t t = 0; t < 8; ++t) {
    CHECK(statuses[t] == QUERN_OK);
    CHECK(results[t] == results[0]);
  }
}
