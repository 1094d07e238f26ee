// The streaming algebra against the plain sum: rows are fed in blocks, corrections applied as `split` says, and the end
// value must be that of the written form; what must not split does not.
#include <cmath>
#include <random>

#include "compiler/passes/algebra.h"
#include "compiler/passes/walk.h"
#include "dsl/ir/print_program.h"
#include "tests/catch.h"
#include "tests/passes/build.h"
#include "tests/passes/evaluate.h"

using namespace quern;
using namespace quern::ir;
using namespace quern::compiler;
using quern::test::Builder;
using quern::test::evaluate;
using quern::test::Surroundings;
using quern::test::Value;

namespace {

/// One row: x[n], w[n] are data; m = max x, s = sum x, l = sum w run along with it.
struct Row {
  Builder b{"row"};
  Expr N = b.size("N");
  IndexId n = b.index("n", N);
  TensorId x = b.input("x", {N}), w = b.input("w", {N}), z = b.input("z", {N});
  TensorId m = b.temp("m", {}), s = b.temp("s", {}), l = b.temp("l", {}), t = b.temp("t", {});
  // Stand-ins for the values before a correction.
  TensorId m0 = b.input("m0", {}), s0 = b.input("s0", {}), l0 = b.input("l0", {}), t0 = b.input("t0", {});
  Expr X = b.get(x, {n}), W = b.get(w, {n}), Z = b.get(z, {n});
  Expr M = at(m), S = at(s), L = at(l), T = at(t);

  Expr at(TensorId id) { return b.pool.read(id, DType::f32, {}); }
  Expr call(Op op, std::initializer_list<Expr> args) { return b.pool.apply(op, args); }
  Row() {
    b.set(m, {}, b.reduce(Reducer::max, {n}, X));
    b.set(s, {}, b.sum({n}, X));
    b.set(l, {}, b.sum({n}, W));
    b.set(t, {}, b.sum({n}, Z));
  }
  std::optional<Shift> split(Expr F, Reducer r = Reducer::sum) {
    const Streamed y[] = {{M, at(m0)}, {S, at(s0)}, {L, at(l0)}, {T, at(t0)}};
    const IndexId axes[] = {n};
    return compiler::split(b.p, F, axes, y, r);
  }

  struct Data { std::vector<double> x, w, z; };
  struct State { double m = -INFINITY, s = 0, l = 0, t = 0; };

  Surroundings around(const Data& d, std::size_t point, const State& now, const State& before) {
    Surroundings out;
    out.program = &b.p;
    out.symbols[0] = static_cast<std::int64_t>(d.x.size());
    out.indices[n] = static_cast<std::int64_t>(point);
    out.read = [&d, now, before, this](TensorId id, const std::vector<std::int64_t>& at) {
      auto f = [](double v) { return Value{v, 0}; };
      if (id == x) return f(d.x[static_cast<std::size_t>(at[0])]);
      if (id == w) return f(d.w[static_cast<std::size_t>(at[0])]);
      if (id == z) return f(d.z[static_cast<std::size_t>(at[0])]);
      if (id == m) return f(now.m);
      if (id == s) return f(now.s);
      if (id == l) return f(now.l);
      if (id == t) return f(now.t);
      if (id == m0) return f(before.m);
      if (id == s0) return f(before.s);
      if (id == l0) return f(before.l);
      return f(before.t);
    };
    return out;
  }
  double combine(Reducer r, double a, double v) const {
    if (r == Reducer::sum) return a + v;
    return std::isnan(a) || std::isnan(v) ? NAN : r == Reducer::max ? std::max(a, v) : std::min(a, v);
  }

  double plain(Expr F, Reducer r, const Data& d) {
    State end;
    for (std::size_t k = 0; k < d.x.size(); ++k) {
      end.m = combine(Reducer::max, end.m, d.x[k]), end.s += d.x[k], end.l += d.w[k], end.t += d.z[k];
    }
    double a = r == Reducer::sum ? 0 : r == Reducer::max ? -INFINITY : INFINITY;
    for (std::size_t k = 0; k < d.x.size(); ++k) a = combine(r, a, evaluate(around(d, k, end, end), F).real);
    return a;
  }

  double streamed(const Shift& shift, Reducer r, const Data& d, std::size_t block) {
    const double start = r == Reducer::sum ? 0 : r == Reducer::max ? -INFINITY : INFINITY;
    std::vector<double> a(shift.bodies.size(), start), centre(shift.centres.size(), 0.0);
    State now, before;
    auto surroundings = [&](std::size_t point, const std::vector<double>& c, const std::vector<double>& next) {
      Surroundings s = around(d, point, now, before);
      for (std::size_t k = 0; k < a.size(); ++k) s.accumulators[static_cast<std::int64_t>(k)] = a[k];
      for (std::size_t k = 0; k < c.size(); ++k) {
        s.accumulators[b.pool[shift.centres[k]].payload] = c[k];
        s.accumulators[b.pool[shift.centres_next[k]].payload] = next[k];
      }
      return s;
    };
    auto add_block = [&](std::vector<double>& to, std::size_t from, std::size_t end) {
      for (std::size_t k = from; k < end; ++k) {
        const Surroundings s = surroundings(k, centre, centre);
        for (std::size_t j = 0; j < to.size(); ++j) to[j] = combine(r, to[j], evaluate(s, shift.bodies[j]).real);
      }
    };
    auto move_to = [&](const std::vector<double>& next) {
      const Surroundings s = surroundings(0, centre, next);
      std::vector<double> moved;
      for (Expr e : shift.moved) moved.push_back(evaluate(s, e).real);
      a = moved, centre = next;
    };
    for (std::size_t from = 0; from < d.x.size(); from += block) {
      const std::size_t end = std::min(d.x.size(), from + block);
      before = now;
      for (std::size_t k = from; k < end; ++k) now.m = combine(Reducer::max, now.m, d.x[k]), now.s += d.x[k], now.l += d.w[k], now.t += d.z[k];
      const Surroundings s = surroundings(from, centre, centre);
      if (shift.factor) {
        const double factor = evaluate(s, shift.factor).real;
        for (double& v : a) v *= factor;
      }
      if (shift.term) a[0] += evaluate(s, shift.term).real;
      if (!shift.recentre.empty()) {
        const std::vector<double> kept = a;
        add_block(a, from, end);
        const Surroundings with = surroundings(from, centre, centre);
        std::vector<double> next;
        for (Expr e : shift.recentre) next.push_back(evaluate(with, e).real);
        a = kept;
        move_to(next);
      }
      add_block(a, from, end);
    }
    before = now;
    if (!shift.centres.empty()) {
      std::vector<double> last;
      const Surroundings s = surroundings(0, centre, centre);
      for (Expr e : shift.final_centres) last.push_back(evaluate(s, e).real);
      move_to(last);
    }
    if (shift.finish && !d.x.empty()) return evaluate(surroundings(0, centre, centre), shift.finish).real;
    return a[0];
  }

  Data data(unsigned seed, std::size_t count, double offset = 0) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    Data d;
    for (std::size_t k = 0; k < count; ++k) {
      d.x.push_back(test::in_type(DType::f32, normal(random) + offset));
      d.w.push_back(test::in_type(DType::f32, std::fabs(normal(random))));
      d.z.push_back(test::in_type(DType::f32, normal(random) * 3));
    }
    return d;
  }
  void agrees(Expr F, Reducer r, const Data& d, double tolerance = 2e-5) {
    const auto shift = split(F, r);
    REQUIRE(shift);
    const double want = plain(F, r, d);
    for (std::size_t block : {1u, 3u, 64u}) {
      const double got = streamed(*shift, r, d, block);
      INFO(print_expr(b.p, F) << ": " << got << " for " << want << " in blocks of " << block);
      if (std::isnan(want)) CHECK(std::isnan(got));
      else if (std::isinf(want)) CHECK(got == want);
      else CHECK(std::fabs(got - want) <= tolerance * (1 + std::fabs(want)));
    }
  }
};

}  // namespace

TEST_CASE("weights that are exponentials stream") {
  Row r;
  const Expr weight = r.call(Op::exp, {r.call(Op::sub, {r.X, r.M})});
  const Expr scaled = r.call(Op::exp, {r.call(Op::mul, {r.call(Op::sub, {r.X, r.M}), r.b.num(0.25)})});
  const Expr masked = r.b.pool.where(r.b.pool.less(r.b.at(r.n), r.b.pool.integer(4)), r.call(Op::mul, {weight, r.Z}), r.b.num(0));
  const Expr rounded = r.call(Op::mul, {r.b.pool.cast(r.b.pool.cast(weight, DType::f16, kAllowed), DType::f32), r.Z});
  for (unsigned seed = 1; seed <= 5; ++seed)
    for (std::size_t count : {0u, 1u, 7u, 40u}) {
      const auto d = r.data(seed, count, seed * 10.0);
      r.agrees(weight, Reducer::sum, d);
      r.agrees(scaled, Reducer::sum, d);
      r.agrees(r.call(Op::mul, {weight, r.Z}), Reducer::sum, d);
      r.agrees(r.call(Op::exp2, {r.call(Op::sub, {r.call(Op::add, {r.X, r.Z}), r.M})}), Reducer::sum, d);
      r.agrees(masked, Reducer::sum, d);
      r.agrees(rounded, Reducer::sum, d, 2e-2);
    }
}

TEST_CASE("rows that begin with nothing but -inf") {
  Row r;
  const Expr weight = r.call(Op::exp, {r.call(Op::sub, {r.X, r.M})});
  auto d = r.data(3, 9, -200.0);
  for (int k = 0; k < 4; ++k) d.x[static_cast<std::size_t>(k)] = -INFINITY;
  r.agrees(weight, Reducer::sum, d);
  r.agrees(r.call(Op::mul, {weight, r.Z}), Reducer::sum, d);
  for (double& v : d.x) v = -INFINITY;
  r.agrees(weight, Reducer::sum, d);  // NaN, as written
  d = r.data(4, 9);
  d.x[5] = INFINITY;
  r.agrees(weight, Reducer::sum, d);
  d.x[5] = NAN;
  r.agrees(weight, Reducer::sum, d);
}

TEST_CASE("terms under max and min stream") {
  Row r;
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const auto d = r.data(seed, 17, 3.0);
    r.agrees(r.call(Op::sub, {r.Z, r.M}), Reducer::max, d);
    r.agrees(r.call(Op::add, {r.call(Op::neg, {r.X}), r.call(Op::mul, {r.S, r.b.num(0.5)})}), Reducer::min, d);
  }
}

TEST_CASE("squares about a mean stream at a moving centre") {
  Row r;
  const Expr count = r.b.pool.cast(r.N, DType::f32);
  const Expr mean = r.call(Op::div, {r.S, count});
  const Expr off = r.call(Op::sub, {r.X, mean});
  const Expr other = r.call(Op::sub, {r.Z, r.call(Op::div, {r.T, count})});
  for (unsigned seed = 1; seed <= 5; ++seed)
    for (double offset : {0.0, 5.0, 1000.0}) {
      const auto d = r.data(seed, 50, offset);
      r.agrees(r.call(Op::mul, {off, off}), Reducer::sum, d, 2e-3);
      r.agrees(r.call(Op::pow, {off, r.b.num(2)}), Reducer::sum, d, 2e-3);
      r.agrees(r.call(Op::mul, {r.W, r.call(Op::mul, {off, off})}), Reducer::sum, d, 2e-3);
      r.agrees(r.call(Op::mul, {off, other}), Reducer::sum, d, 2e-3);
    }
  const auto shift = r.split(r.call(Op::mul, {off, off}));
  REQUIRE(shift);
  CHECK(shift->bodies.size() == 3);
  CHECK(shift->recentre.size() == 1);
  CHECK(!shift->derivation.empty());
}

TEST_CASE("a polynomial with exponential weights streams") {
  Row r;
  // sum exp(x - m) * (z - t / N)^2: both corrections at once.
  const Expr off = r.call(Op::sub, {r.Z, r.call(Op::div, {r.T, r.b.pool.cast(r.N, DType::f32)})});
  const Expr F = r.call(Op::mul, {r.call(Op::exp, {r.call(Op::sub, {r.X, r.M})}), r.call(Op::mul, {off, off})});
  for (unsigned seed = 1; seed <= 5; ++seed)
    for (std::size_t count : {0u, 1u, 7u, 40u}) r.agrees(F, Reducer::sum, r.data(seed, count, 2.0), 1e-4);
}

TEST_CASE("what does not split is refused") {
  Row r;
  CHECK(!r.split(r.call(Op::exp, {r.call(Op::mul, {r.X, r.M})})));
  CHECK(!r.split(r.call(Op::tanh, {r.call(Op::sub, {r.X, r.M})})));
  CHECK(!r.split(r.call(Op::exp, {r.call(Op::sub, {r.X, r.M})}), Reducer::prod));
  CHECK(!r.split(r.call(Op::div, {r.X, r.call(Op::add, {r.Z, r.S})})));
  CHECK(!r.split(r.call(Op::mul, {r.X, r.M}), Reducer::max));
  // A maximum may still be infinite: nothing may be moved to it.
  const Expr off = r.call(Op::sub, {r.X, r.M});
  CHECK(!r.split(r.call(Op::mul, {off, off})));
}
