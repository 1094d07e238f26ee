// Nests of every shape against plain loops: tails, strides, guards, reducers, scans, scatters, on every target.
#include <cmath>
#include <random>

#include "tests/catch.h"
#include "tests/cpu_codegen/fixture.h"

using namespace quern;
using namespace quern::cpu;
using namespace quern::cpu::test;

namespace {
const std::vector<std::string> kTargets = {"host", "avx2", "baseline"};
std::vector<float> numbers(std::size_t n, unsigned seed = 1) {
  std::mt19937 g(seed);
  std::uniform_int_distribution<int> d(-8, 8);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(d(g));
  return v;
}
}  // namespace

TEST_CASE("product with every tail and stride") {
  for (const std::string& target : kTargets) {
    for (int rows : {0, 1, 5, 12, 17, 29}) {
      for (int columns : {0, 1, 15, 16, 33, 70}) {
        for (int depth : {0, 1, 7}) {
          for (bool constant : {false, true}) {
            Bench t;
            t.options.target = target_named(target);
            const auto a = numbers(static_cast<std::size_t>(rows * depth * 2 + 1)), b = numbers(static_cast<std::size_t>(depth * columns + 1), 2);
            std::vector<float> c(static_cast<std::size_t>(rows * columns + 64), 99.f);
            Expr M = constant ? t.n(rows) : t.symbol("M", rows), N = constant ? t.n(columns) : t.symbol("N", columns), K = constant ? t.n(depth) : t.symbol("K", depth);
            TensorId A = t.tensor(DType::f32, {M, K}, Role::input, (void*)a.data(), {2 * depth, 2});
            TensorId B = t.tensor(DType::f32, {K, N}, Role::input, (void*)b.data(), {columns, 1}, {false, {StrideClass::any, StrideClass::one}});
            TensorId C = t.tensor(DType::f32, {M, N}, Role::output, c.data());
            IndexId i = t.index(t.n(0), M), j = t.index(t.n(0), N), k = t.index(t.n(0), K);
            Nest nest;
            nest.dims = {{i, t.n(0), M, 12, false}, {j, t.n(0), N, 2, true}, {k, t.n(0), K, 2, false}};
            nest.updates = {reduce(Reducer::sum, C, {t.ix(i), t.ix(j)}, {k}, t.pool().mul(t.read(A, {t.ix(i), t.ix(k)}), t.read(B, {t.ix(k), t.ix(j)})))};
            t.add(nest);
            t.run();
            for (int r = 0; r < rows; ++r) {
              for (int q = 0; q < columns; ++q) {
                float s = 0;
                for (int d = 0; d < depth; ++d) s += a[static_cast<std::size_t>(r * 2 * depth + 2 * d)] * b[static_cast<std::size_t>(d * columns + q)];
                REQUIRE(c[static_cast<std::size_t>(r * columns + q)] == s);
              }
            }
            for (std::size_t x = static_cast<std::size_t>(rows * columns); x < c.size(); ++x) REQUIRE(c[x] == 99.f);
          }
        }
      }
    }
  }
}

TEST_CASE("reducers over lanes and over rows") {
  for (const std::string& target : kTargets) {
    for (int rows : {1, 6}) {
      for (int columns : {0, 1, 16, 31, 100}) {
        for (bool lanes_reduced : {true, false}) {
          Bench t;
          t.options.target = target_named(target);
          auto x = numbers(static_cast<std::size_t>(rows * columns));
          Expr R = t.symbol("R", rows), N = t.symbol("N", columns);
          TensorId X = t.tensor(DType::f32, {R, N}, Role::input, x.data());
          std::vector<std::vector<float>> out(5, std::vector<float>(static_cast<std::size_t>(rows), 77.f));
          std::vector<std::int32_t> best(static_cast<std::size_t>(rows), 77), least(static_cast<std::size_t>(rows), 77);
          std::vector<std::uint8_t> any(static_cast<std::size_t>(rows), 77);
          IndexId i = t.index(t.n(0), R), j = t.index(t.n(0), N);
          Nest nest;
          nest.dims = {{i, t.n(0), R, 2, !lanes_reduced}, {j, t.n(0), N, 2, lanes_reduced}};
          Expr at = t.read(X, {t.ix(i), t.ix(j)});
          const Reducer list[] = {Reducer::sum, Reducer::max, Reducer::min, Reducer::sum, Reducer::prod};
          for (int k = 0; k < 5; ++k) {
            TensorId o = t.tensor(DType::f32, {R}, Role::output, out[static_cast<std::size_t>(k)].data());
            Update u = reduce(list[k], o, {t.ix(i)}, {j}, at);
            if (k == 3) {
              u.domain = t.pool().apply(Op::gt, {at, t.r(0)});
              u.start = t.r(5);
              u.result = t.pool().mul(t.pool().accumulator(DType::f32), t.r(2));
            }
            nest.updates.push_back(u);
          }
          TensorId P = t.tensor(DType::i32, {R}, Role::output, best.data()), Q = t.tensor(DType::i32, {R}, Role::output, least.data());
          for (bool most : {true, false}) {
            Update u = reduce(most ? Reducer::argmax : Reducer::argmin, 0, {t.ix(i)}, {j}, at);
            u.position = t.ix(j);
            u.has_value_target = false;
            u.has_position_target = true;
            u.position_target = most ? P : Q;
            nest.updates.push_back(u);
          }
          TensorId A = t.tensor(DType::boolean, {R}, Role::output, any.data());
          nest.updates.push_back(reduce(Reducer::any, A, {t.ix(i)}, {j}, t.pool().apply(Op::gt, {at, t.r(7)})));
          t.add(nest);
          t.run();
          for (int r = 0; r < rows; ++r) {
            float sum = 0, high = -INFINITY, low = INFINITY, positive = 5, product = 1;
            int high_at = -1, low_at = -1;
            bool some = false;
            for (int q = 0; q < columns; ++q) {
              const float v = x[static_cast<std::size_t>(r * columns + q)];
              sum += v;
              product *= v;
              if (v > high) high = v, high_at = q;
              if (v < low) low = v, low_at = q;
              if (v > 0) positive += v;
              some |= v > 7;
            }
            const std::size_t s = static_cast<std::size_t>(r);
            INFO(target << " rows " << rows << " columns " << columns << " lanes reduced " << lanes_reduced);
            REQUIRE(out[0][s] == sum);
            REQUIRE(out[1][s] == high);
            REQUIRE(out[2][s] == low);
            REQUIRE(out[3][s] == 2 * positive);
            REQUIRE((out[4][s] == product || std::fabs(out[4][s] - product) < 1e-3f * std::fabs(product) || std::isinf(product) || std::isnan(product)));
            REQUIRE(best[s] == high_at);
            REQUIRE(least[s] == low_at);
            REQUIRE(any[s] == (some ? 1 : 0));
          }
        }
      }
    }
  }
}

TEST_CASE("scans along the lanes and across them") {
  for (const std::string& target : kTargets) {
    for (int rows : {1, 20}) {
      for (int columns : {0, 1, 16, 45}) {
        for (int lane : {0, 1, 2}) {
          Bench t;
          t.options.target = target_named(target);
          auto x = numbers(static_cast<std::size_t>(rows * columns));
          std::vector<float> sums(x.size() + 1, 9.f), highs(x.size() + 1, 9.f), decays(x.size() + 1, 9.f);
          Expr R = t.symbol("R", rows), N = t.symbol("N", columns);
          TensorId X = t.tensor(DType::f32, {R, N}, Role::input, x.data());
          TensorId S = t.tensor(DType::f32, {R, N}, Role::output, sums.data()), H = t.tensor(DType::f32, {R, N}, Role::output, highs.data()),
                   D = t.tensor(DType::f32, {R, N}, Role::output, decays.data());
          IndexId i = t.index(t.n(0), R), j = t.index(t.n(0), N);
          Expr at = t.read(X, {t.ix(i), t.ix(j)});
          auto scan = [&](TensorId target_tensor, Expr body, Reducer reducer, Expr start) {
            Update u = reduce(reducer, target_tensor, {t.ix(i), t.ix(j)}, {j}, body);
            u.kind = UpdateKind::scan;
            u.start = start;
            return u;
          };
          Expr prev = t.pool().previous(DType::f32);
          for (int which = 0; which < 3; ++which) {
            Nest nest;
            nest.dims = {{i, t.n(0), R, 2, lane == 0}, {j, t.n(0), N, 1, lane == 1}};
            if (which == 0) nest.updates = {scan(S, at, Reducer::sum, t.r(3))};
            if (which == 1) nest.updates = {scan(H, t.pool().max(prev, at), Reducer::sum, t.r(-100))};
            if (which == 2) nest.updates = {scan(D, t.pool().add(t.pool().mul(t.r(0.5), prev), at), Reducer::sum, t.r(0))};
            t.add(nest);
          }
          t.run();
          for (int r = 0; r < rows; ++r) {
            float s = 3, h = -100, d = 0;
            for (int q = 0; q < columns; ++q) {
              const std::size_t p = static_cast<std::size_t>(r * columns + q);
              s += x[p];
              h = std::max(h, x[p]);
              d = 0.5f * d + x[p];
              REQUIRE(sums[p] == s);
              REQUIRE(highs[p] == h);
              REQUIRE(decays[p] == Approx(d));
            }
          }
          REQUIRE(sums.back() == 9.f);
        }
      }
    }
  }
}

TEST_CASE("guards keep reads inside memory and checked reads are reported") {
  for (const std::string& target : kTargets) {
    for (int lane : {0, 1, 2}) {
      Bench t;
      t.options.target = target_named(target);
      const int n = 37;
      auto x = numbers(n);
      std::vector<std::int32_t> ids(n);
      for (int k = 0; k < n; ++k) ids[static_cast<std::size_t>(k)] = (k * 7) % n;
      ids[20] = 1 << 30;
      ids[30] = -5;
      std::vector<float> shifted(n), gathered(n), mixed(n);
      Expr N = t.symbol("N", n);
      TensorId X = t.tensor(DType::f32, {N}, Role::input, x.data()), I = t.tensor(DType::i32, {N}, Role::input, ids.data());
      TensorId S = t.tensor(DType::f32, {N}, Role::output, shifted.data()), G = t.tensor(DType::f32, {N}, Role::output, gathered.data());
      IndexId i = t.index(t.n(0), N), one = t.index(t.n(0), t.n(1));
      // A wild distance makes any read outside the guard fault.
      Expr far = t.pool().add(t.ix(i), t.n(std::int64_t{1} << 40));
      Expr inside = t.pool().both(t.pool().less(t.ix(i), t.n(25)), t.pool().apply(Op::ge, {t.ix(i), t.n(3)}));
      Expr body = t.pool().where(inside, t.read(X, {t.pool().sub(t.ix(i), t.n(3))}), t.pool().where(t.pool().less(t.ix(i), N), t.r(-1), t.read(X, {far})));
      Nest nest;
      nest.dims = {{one, t.n(0), t.n(1), 1, lane == 1}, {i, t.n(0), N, 2, lane == 0}};
      nest.updates = {store(S, {t.ix(i)}, body), store(G, {t.ix(i)}, t.read(X, {t.pool().cast(t.read(I, {t.ix(i)}), DType::i64)}, true))};
      t.add(nest);
      t.run();
      for (int k = 0; k < n; ++k) {
        const std::size_t s = static_cast<std::size_t>(k);
        REQUIRE(shifted[s] == (k >= 3 && k < 25 ? x[s - 3] : -1.f));
        REQUIRE(gathered[s] == (k == 20 || k == 30 ? 0.f : x[static_cast<std::size_t>(ids[s])]));
      }
      REQUIRE(t.status.state == 2);
      REQUIRE(t.status.tensor == X);
      REQUIRE(t.status.source == I);
      REQUIRE(t.status.position[0] == 20);
      REQUIRE(t.status.value == 1 << 30);
      REQUIRE(t.status.extent == n);
    }
  }
}

TEST_CASE("what all lanes share is read without asking which of them want it, where it is there") {
  for (const std::string& target : kTargets) {
    for (int depth : {1, 20, 37}) {
      Bench t;
      t.options.target = target_named(target);
      t.options.want_ir = true;
      const int columns = 37, rows = 5;
      const auto w = numbers(static_cast<std::size_t>(depth * columns));
      auto x = numbers(static_cast<std::size_t>(depth * rows), 2);
      // No lane wants the last row: what is not a number there stays there.
      if (depth == columns) x[static_cast<std::size_t>((depth - 1) * rows)] = std::nanf("");
      std::vector<float> lower(static_cast<std::size_t>(columns * rows)), none(lower.size(), 1.f);
      Expr K = t.symbol("K", depth), N = t.symbol("N", columns), M = t.symbol("M", rows);
      TensorId W = t.tensor(DType::f32, {K, N}, Role::input, (void*)w.data()), X = t.tensor(DType::f32, {K, M}, Role::input, x.data());
      TensorId L = t.tensor(DType::f32, {N, M}, Role::output, lower.data()), O = t.tensor(DType::f32, {N, M}, Role::output, none.data());
      IndexId j = t.index(t.n(0), N), i = t.index(t.n(0), M), k = t.index(t.n(0), K);
      auto nest_of = [&](TensorId to, Expr row, Expr domain) {
        Nest nest;
        nest.dims = {{i, t.n(0), M, 3, false}, {j, t.n(0), N, 2, true}, {k, t.n(0), K, 1, false}};
        Update u = reduce(Reducer::sum, to, {t.ix(j), t.ix(i)}, {k}, t.pool().mul(t.read(W, {t.ix(k), t.ix(j)}), t.read(X, {row, t.ix(i)})));
        u.domain = domain;
        nest.updates = {u};
        return nest;
      };
      t.add(nest_of(L, t.ix(k), t.pool().less(t.ix(k), t.ix(j))));
      t.compile();
      CHECK(t.compiled.ir.find("select i1 %") == std::string::npos);  // no address is chosen
      // The same, where the element need not be there: a read that no lane wants would fault.
      Expr far = t.pool().add(t.ix(k), t.n(std::int64_t{1} << 40));
      t.add(nest_of(O, far, t.pool().less(far, t.ix(j))));
      t.code.reset();
      t.run();
      CHECK(t.compiled.ir.find("select i1 %") != std::string::npos);
      for (int q = 0; q < columns; ++q) {
        for (int r = 0; r < rows; ++r) {
          float sum = 0;
          for (int d = 0; d < std::min(depth, q); ++d) sum += w[static_cast<std::size_t>(d * columns + q)] * x[static_cast<std::size_t>(d * rows + r)];
          REQUIRE(lower[static_cast<std::size_t>(q * rows + r)] == sum);
          REQUIRE(none[static_cast<std::size_t>(q * rows + r)] == 0.f);
        }
      }
    }
  }
}

TEST_CASE("scatter adds every repeat") {
  for (const std::string& target : kTargets) {
    for (int lane : {0, 1}) {
      Bench t;
      t.options.target = target_named(target);
      const int tokens = 50, width = 21, rows = 6;
      auto g = numbers(tokens * width);
      std::vector<std::int32_t> ids(tokens);
      for (int k = 0; k < tokens; ++k) ids[static_cast<std::size_t>(k)] = (k * k) % 8;  // 6 and 7 are outside
      std::vector<float> w(rows * width, 1.f), expected = w;
      TensorId G = t.tensor(DType::f32, {t.n(tokens), t.n(width)}, Role::input, g.data()), I = t.tensor(DType::i32, {t.n(tokens)}, Role::input, ids.data());
      TensorId W = t.tensor(DType::f32, {t.n(rows), t.n(width)}, Role::output, w.data());
      IndexId i = t.index(t.n(0), t.n(tokens)), e = t.index(t.n(0), t.n(width));
      Nest nest;
      nest.dims = {{i, t.n(0), t.n(tokens), 1, lane == 1}, {e, t.n(0), t.n(width), 1, lane == 0}};
      Update u = store(W, {t.pool().cast(t.read(I, {t.ix(i)}), DType::i64), t.ix(e)}, t.read(G, {t.ix(i), t.ix(e)}));
      u.kind = UpdateKind::scatter;
      u.reducer = Reducer::sum;
      u.checked = true;
      nest.updates = {u};
      t.add(nest);
      t.run();
      for (int k = 0; k < tokens; ++k) {
        for (int c = 0; c < width; ++c) {
          if (ids[static_cast<std::size_t>(k)] < rows) expected[static_cast<std::size_t>(ids[static_cast<std::size_t>(k)] * width + c)] += g[static_cast<std::size_t>(k * width + c)];
        }
      }
      REQUIRE(w == expected);
    }
  }
}

TEST_CASE("division by what a loop keeps, for every kind of divisor") {
  const float inf = INFINITY;
  const std::vector<float> divisors = {1, -3, 0.f, -0.f, inf, -inf, NAN, 1e-40f, -1e-45f, 3e38f, 1.2e-38f, 7.7f, 2e38f, 0x1p127f};
  const std::vector<float> values = {0.f, -0.f, 1, -1, inf, -inf, NAN, 1e-40f, 1e-45f, 3e38f, 1e-38f, 0.3f, 123.f, -7e37f, 5e-39f, 1e10f, 2, 3};
  for (const std::string& target : kTargets) {
    Bench t;
    t.options.target = target_named(target);
    const std::int64_t R = static_cast<std::int64_t>(divisors.size()), C = static_cast<std::int64_t>(values.size());
    std::vector<float> out(divisors.size() * values.size());
    TensorId X = t.tensor(DType::f32, {t.n(C)}, Role::input, (void*)values.data()), Y = t.tensor(DType::f32, {t.n(R)}, Role::input, (void*)divisors.data());
    TensorId O = t.tensor(DType::f32, {t.n(R), t.n(C)}, Role::output, out.data());
    IndexId i = t.index(t.n(0), t.n(R)), j = t.index(t.n(0), t.n(C));
    Nest nest;
    nest.dims = {{i, t.n(0), t.n(R), 2, false}, {j, t.n(0), t.n(C), 1, true}};
    nest.updates = {store(O, {t.ix(i), t.ix(j)}, t.pool().div(t.read(X, {t.ix(j)}), t.read(Y, {t.ix(i)})))};
    t.add(nest);
    t.run();
    for (std::size_t r = 0; r < divisors.size(); ++r) {
      for (std::size_t c = 0; c < values.size(); ++c) {
        const double want = static_cast<double>(values[c]) / static_cast<double>(divisors[r]);
        const float got = out[r * values.size() + c], nearest = static_cast<float>(want);
        INFO(target << " " << values[c] << " / " << divisors[r] << " gave " << got);
        if (std::isnan(want)) {
          REQUIRE(std::isnan(got));
        } else if (std::isinf(nearest) || nearest == 0) {
          REQUIRE(got == nearest);
          REQUIRE(std::signbit(got) == std::signbit(nearest));
        } else {
          REQUIRE(std::fabs(got - want) <= std::max(1.5 * 0x1p-23 * std::fabs(want), 1.5 * 0x1p-149));
        }
      }
    }
  }
}

TEST_CASE("exponentials of products less what a loop keeps") {
  for (const std::string& target : kTargets) {
    Bench t;
    t.options.target = target_named(target);
    const int rows = 9, columns = 40;
    const auto s = numbers(rows * columns), m = numbers(columns, 5);
    std::vector<float> out(rows * columns);
    TensorId S = t.tensor(DType::f32, {t.n(rows), t.n(columns)}, Role::input, (void*)s.data()), M = t.tensor(DType::f32, {t.n(columns)}, Role::input, (void*)m.data());
    TensorId O = t.tensor(DType::f32, {t.n(rows), t.n(columns)}, Role::output, out.data());
    IndexId i = t.index(t.n(0), t.n(rows)), j = t.index(t.n(0), t.n(columns));
    Nest nest;
    nest.dims = {{j, t.n(0), t.n(columns), 2, true}, {i, t.n(0), t.n(rows), 2, false}};
    Expr x = t.pool().mul(t.read(S, {t.ix(i), t.ix(j)}), t.r(1.25));
    nest.updates = {store(O, {t.ix(i), t.ix(j)}, t.pool().apply(Op::exp, {t.pool().sub(x, t.read(M, {t.ix(j)}))}))};
    t.add(nest);
    t.run();
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c) {
        const double a = 1.25 * s[static_cast<std::size_t>(r * columns + c)], b = m[static_cast<std::size_t>(c)];
        const double want = std::exp(a - b), bound = want * (4 * 0x1p-24 + 2 * 0x1p-24 * (std::fabs(a) + std::fabs(b)));
        REQUIRE(std::fabs(out[static_cast<std::size_t>(r * columns + c)] - want) <= bound);
      }
    }
  }
}
