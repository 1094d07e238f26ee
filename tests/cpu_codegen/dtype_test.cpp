// Loads, conversions and stores of every pair of element types, bit for bit against dtype.h.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/catch.h"
#include "tests/cpu_codegen/fixture.h"

using namespace quern;
using namespace quern::cpu;
using namespace quern::cpu::test;

namespace {

std::vector<double> samples(DType type) {
  std::vector<double> v;
  if (is_float(type)) {
    v = {0.0, -0.0, 1, -1, 0.5, 448, 449, 464, 465, 1e9, -1e9, 65504, 65519, 65520, 57344, 61440, 1e-8, 3e38, INFINITY, -INFINITY, NAN, 127.6, -128.9, 255.5, 300, 2147483648.0, 9.3e18, -9.3e18, 0x1p-9, 0x1.8p-10, 0x1p-16, 0x1p-17, 0x1.8p-25, 0x1.00000001p-10, 0x1.0100000001p0, 0x1.0080000001p0, 3.4028236e38, 1e-45, 1e-40};
    std::mt19937_64 g(3);
    for (int k = 0; k < 300; ++k) v.push_back(std::ldexp(std::uniform_real_distribution<double>(-2, 2)(g), static_cast<int>(g() % 60) - 30));
  } else {
    v = {0, 1, 2, 100, 127};
    if (type == DType::boolean) v = {0, 1};
    if (type == DType::u8) v.insert(v.end(), {128, 200, 255});
    if (type != DType::u8 && type != DType::boolean) v.insert(v.end(), {-1, -7, -128});
    if (type == DType::i16 || type == DType::i32 || type == DType::i64) v.insert(v.end(), {300, -300, 32767, -32768});
    if (type == DType::i32 || type == DType::i64) v.insert(v.end(), {70000, -70001, 2147483647, -2147483648.0, 16777217, 16842753});
    if (type == DType::i64) v.insert(v.end(), {1e15, -1e15, 9007199254740991.0});
  }
  return v;
}

}  // namespace

TEST_CASE("every pair of element types converts as dtype.h says") {
  for (const char* target : {"host", "avx2", "baseline"}) {
    for (int lanes : {0, 1}) {
      for (int from = 0; from < kDTypeCount; ++from) {
        const DType in = static_cast<DType>(from);
        Bench t;
        t.options.target = target_named(target);
        const std::vector<double> list = samples(in);
        const std::size_t n = list.size();
        std::vector<char> source(n * 8 + 64);
        for (std::size_t k = 0; k < n; ++k) store_from_f64(in, source.data() + k * size_of(in), list[k]);
        std::vector<std::vector<char>> out(kDTypeCount, std::vector<char>(n * 8 + 64, 55));
        Expr N = t.symbol("N", static_cast<std::int64_t>(n));
        TensorId X = t.tensor(in, {N}, Role::input, source.data());
        IndexId i = t.index(t.n(0), N), j = t.index(t.n(0), t.n(1));
        Nest nest;
        nest.dims = {{j, t.n(0), t.n(1), 1, lanes == 0}, {i, t.n(0), N, 1, lanes == 1}};
        for (int to = 0; to < kDTypeCount; ++to) {
          TensorId O = t.tensor(static_cast<DType>(to), {N}, Role::output, out[static_cast<std::size_t>(to)].data());
          nest.updates.push_back(store(O, {t.ix(i)}, t.read(X, {t.ix(i)})));
        }
        t.add(nest);
        t.run();
        for (int to = 0; to < kDTypeCount; ++to) {
          const DType type = static_cast<DType>(to);
          const std::size_t size = size_of(type);
          for (std::size_t k = 0; k < n; ++k) {
            char want[8];
            const void* at = source.data() + k * size_of(in);
            if (type == DType::boolean) want[0] = load_as_f64(in, at) != 0;
            else if (is_float(in) || is_float(type)) store_from_f64(type, want, load_as_f64(in, at));
            else store_from_i64(type, want, load_as_i64(in, at));
            const char* got = out[static_cast<std::size_t>(to)].data() + k * size;
            const bool nan = is_float(type) && std::isnan(load_as_f64(type, want));
            INFO(target << " lanes " << lanes << " " << name(in) << " to " << name(type) << ": " << load_as_f64(in, at) << " gave " << load_as_f64(type, got));
            REQUIRE((nan ? std::isnan(load_as_f64(type, got)) : std::memcmp(got, want, size) == 0));
          }
          for (std::size_t k = n * size; k < n * size + 8; ++k) REQUIRE(out[static_cast<std::size_t>(to)][k] == 55);
        }
      }
    }
  }
}

TEST_CASE("integer division is floored and defined for every divisor") {
  for (const char* target : {"host", "avx2", "baseline"}) {
    for (DType type : {DType::i64, DType::i32, DType::i16, DType::i8, DType::u8}) {
      Bench t;
      t.options.target = target_named(target);
      std::vector<std::int64_t> pool = {0, 1, 2, 3, 7, 100, 127};
      if (type != DType::u8) pool.insert(pool.end(), {-1, -2, -7, -128});
      if (type == DType::i64) pool.insert(pool.end(), {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()});
      if (type == DType::i32) pool.insert(pool.end(), {std::numeric_limits<std::int32_t>::min()});
      std::vector<std::int64_t> x, y;
      for (auto a : pool) for (auto b : pool) x.push_back(a), y.push_back(b);
      const std::size_t n = x.size();
      std::vector<char> xs(n * 8), ys(n * 8), q(n * 8), m(n * 8);
      for (std::size_t k = 0; k < n; ++k) {
        store_from_i64(type, xs.data() + k * size_of(type), x[k]);
        store_from_i64(type, ys.data() + k * size_of(type), y[k]);
      }
      Expr N = t.symbol("N", static_cast<std::int64_t>(n));
      TensorId X = t.tensor(type, {N}, Role::input, xs.data()), Y = t.tensor(type, {N}, Role::input, ys.data());
      TensorId Q = t.tensor(type, {N}, Role::output, q.data()), M = t.tensor(type, {N}, Role::output, m.data());
      IndexId i = t.index(t.n(0), N);
      Nest nest;
      nest.dims = {{i, t.n(0), N, 1, true}};
      Expr a = t.read(X, {t.ix(i)}), b = t.read(Y, {t.ix(i)});
      nest.updates = {store(Q, {t.ix(i)}, t.pool().apply(Op::floordiv, {a, b})), store(M, {t.ix(i)}, t.pool().apply(Op::mod, {a, b}))};
      t.add(nest);
      t.run();
      for (std::size_t k = 0; k < n; ++k) {
        std::int64_t want_q = 0, want_m = 0;
        if (y[k] == -1) {
          want_q = wrapped_to(type, static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(x[k])));
        } else if (y[k] != 0) {
          want_q = x[k] / y[k];
          want_m = x[k] % y[k];
          if (want_m != 0 && (want_m < 0) != (y[k] < 0)) want_m += y[k], --want_q;
        }
        INFO(name(type) << " " << x[k] << " by " << y[k]);
        REQUIRE(load_as_i64(type, q.data() + k * size_of(type)) == want_q);
        REQUIRE(load_as_i64(type, m.data() + k * size_of(type)) == want_m);
      }
    }
  }
}
