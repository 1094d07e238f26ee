// Each rule of simplify against evaluation: random expressions over awkward values, before and after, bit by bit; and
// every rule fits somewhere, the whole ends, and a second run changes nothing.
#include <fmt/format.h>

#include <map>
#include <random>

#include "compiler/passes/simplify.h"
#include "compiler/passes/walk.h"
#include "dsl/ir/print_program.h"
#include "tests/catch.h"
#include "tests/from_environment.h"
#include "tests/passes/build.h"
#include "tests/passes/evaluate.h"

using namespace quern;
using namespace quern::ir;
using quern::test::Builder;
using quern::test::evaluate;
using quern::test::Surroundings;
using quern::test::Value;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kReals[] = {0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 8.0, 3.0, 0.1, -7.25, 1e30, -1e30, 1e-40, kInf, -kInf, std::nan("")};

/// Random expressions that lean towards what the rules look for.
struct Maker {
  Builder b{"r"};
  std::mt19937 random;
  Expr N = b.size("N"), M = b.size("M");
  IndexId n = b.index("n", N), m = b.index("m", M), pair = b.index("p", b.pool.mul(N, M)), shifted = b.p.add_index("t", b.pool.integer(3), b.pool.add(N, b.pool.integer(3)));
  TensorId x = b.input("x", {N}), ids = b.input("ids", {M}, DType::i32), wide = b.input("wide", {M}, DType::i64);

  explicit Maker(unsigned seed) : random(seed) {}
  int pick(int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); }
  Expr call(Op op, std::initializer_list<Expr> args) { return b.pool.apply(op, args); }

  Expr integer(int depth) {
    if (depth == 0) {
      switch (pick(8)) {
        case 0: return b.at(n);
        case 1: return b.at(m);
        case 2: return b.at(pair);
        case 3: return b.at(shifted);
        case 4: return N;
        case 5: return M;
        case 6: return b.pool.cast(b.get(ids, {m}), DType::i64);
        default: return b.pool.integer(pick(7) - 3);
      }
    }
    const Expr a = integer(depth - 1), c = integer(depth - 1);
    switch (pick(9)) {
      case 0: case 1: return b.pool.add(a, c);
      case 2: case 3: return b.pool.sub(a, c);
      case 4: return b.pool.mul(a, pick(2) ? M : b.pool.integer(pick(5) - 1));
      case 5: return call(Op::floordiv, {pick(2) ? b.pool.add(b.pool.mul(b.at(n), M), b.at(m)) : a, pick(2) ? M : b.pool.integer(pick(5) - 1)});
      case 6: return call(Op::mod, {pick(2) ? b.pool.add(b.pool.mul(b.at(n), M), b.at(m)) : a, pick(2) ? M : b.pool.integer(pick(5) - 1)});
      case 7: return call(pick(2) ? Op::min : Op::max, {a, c});
      default: return pick(2) ? b.get(wide, {m}) : call(Op::where, {condition(depth - 1), a, c});
    }
  }
  Expr condition(int depth) {
    static const Op compare[] = {Op::lt, Op::le, Op::gt, Op::ge, Op::eq, Op::ne};
    if (depth > 0) {
      const Expr a = condition(depth - 1);
      switch (pick(6)) {
        case 0: return call(Op::not_, {a});
        case 1: return call(Op::and_, {a, pick(3) ? condition(depth - 1) : call(Op::and_, {condition(0), a})});
        case 2: return call(Op::or_, {a, pick(3) ? condition(depth - 1) : a});
        case 3: return call(Op::where, {a, b.pool.boolean(pick(2)), b.pool.boolean(pick(2))});
        default: break;
      }
    }
    if (pick(4) == 0) return call(compare[pick(6)], {real(depth > 0 ? depth - 1 : 0), real(0)});
    return call(compare[pick(6)], {integer(depth > 0 ? 1 : 0), integer(0)});
  }
  Expr real(int depth) {
    if (depth == 0) {
      if (pick(2)) return b.get(x, {n});
      return b.num(kReals[pick(std::size(kReals))]);
    }
    const Expr a = real(depth - 1);
    switch (pick(16)) {
      case 0: return call(Op::neg, {a});
      case 1: return call(Op::abs, {a});
      case 2: return call(Op::add, {a, real(depth - 1)});
      case 3: return call(Op::sub, {a, real(depth - 1)});
      case 4: return call(Op::mul, {a, pick(2) ? a : real(depth - 1)});
      case 5: case 6: return call(Op::div, {a, pick(2) ? b.num(std::ldexp(pick(2) ? 1.0 : -1.0, pick(9) - 4)) : real(depth - 1)});
      case 7: { const double k[] = {0, 1, 2, -1, 0.5, 3}; return call(Op::pow, {a, b.num(k[pick(6)])}); }
      case 8: return call(Op::max, {a, pick(2) ? call(Op::max, {a, real(0)}) : real(0)});
      case 9: return call(Op::min, {call(Op::min, {a, real(0)}), real(0)});
      case 10: return call(Op::sqrt, {a});
      case 11: return call(Op::where, {condition(depth - 1), a, call(Op::where, {condition(0), real(depth - 1), a})});
      case 12: return call(Op::where, {condition(0), call(Op::where, {condition(0), real(0), a}), a});
      case 13: return b.pool.cast(b.pool.cast(a, DType::f64), DType::f32);
      case 14: return b.pool.cast(b.pool.cast(integer(0), pick(2) ? DType::i32 : DType::f64), DType::f32);
      default: return b.pool.cast(b.pool.cast(a, pick(2) ? DType::f16 : DType::i32), DType::f32);
    }
  }

  /// A point with all indices in range, and data that is awkward.
  Surroundings point() {
    Surroundings s;
    s.program = &b.p;
    const std::int64_t sn = 1 + pick(4), sm = 1 + pick(4);
    s.symbols = {{0, sn}, {1, sm}};
    s.indices = {{n, pick(static_cast<int>(sn))}, {m, pick(static_cast<int>(sm))}, {pair, pick(static_cast<int>(sn * sm))}, {shifted, 3 + pick(static_cast<int>(sn))}};
    const double r = kReals[pick(std::size(kReals))];
    const std::int64_t small = pick(9) - 4;
    const std::int64_t large = pick(2) ? std::numeric_limits<std::int64_t>::max() - pick(2) : std::numeric_limits<std::int64_t>::min() + pick(2);
    const TensorId tx = x, tw = wide;
    s.read = [=](TensorId t, const std::vector<std::int64_t>&) {
      return t == tx ? Value{test::in_type(DType::f32, r), 0} : Value{0, t == tw ? large : small};
    };
    return s;
  }
};

bool same(DType type, const Value& a, const Value& b) {
  if (!is_float(type)) return a.integer == b.integer;
  if (std::isnan(a.real) || std::isnan(b.real)) return std::isnan(a.real) && std::isnan(b.real);
  return a.real == b.real && std::signbit(a.real) == std::signbit(b.real);
}

unsigned seed_of_run() { return static_cast<unsigned>(test::from_environment("QUERN_SEED", 1)); }

}  // namespace

TEST_CASE("every rule of simplify is sound") {
  const unsigned seed = seed_of_run();
  Maker maker(seed);
  INFO("REPRO: QUERN_SEED=" << seed);
  std::map<std::string_view, int> used;
  for (int round = 0; round < 6000; ++round) {
    const int kind = maker.pick(3), depth = 1 + maker.pick(3);
    const Expr root = kind == 0 ? maker.integer(depth) : kind == 1 ? maker.condition(depth) : maker.real(depth);
    const compiler::Ranges ranges(maker.b.p);
    std::vector<Expr> nodes;
    compiler::for_each_node(maker.b.pool, root, [&](Expr e) { nodes.push_back(e); });
    for (Expr e : nodes) {
      for (const auto table : {compiler::index_rules(), compiler::float_rules()})
        for (const compiler::SimplifyRule& rule : table) {
          const Expr out = rule.apply({maker.b.p, ranges, {}}, e);
          if (!out || out == e) continue;
          ++used[rule.name];
          for (int k = 0; k < 8; ++k) {
            const Surroundings s = maker.point();
            const Value before = evaluate(s, e), after = evaluate(s, out);
            if (!same(maker.b.pool.type(e), before, after)) {
              INFO(rule.name << ": " << print_expr(maker.b.p, e) << " -> " << print_expr(maker.b.p, out));
              INFO("before " << before.real << " " << before.integer << ", after " << after.real << " " << after.integer);
              FAIL("not the same value");
            }
          }
        }
    }
  }
  for (const auto table : {compiler::index_rules(), compiler::float_rules()})
    for (const compiler::SimplifyRule& rule : table) {
      INFO(rule.name);
      CHECK(used[rule.name] >= 20);
    }
}

TEST_CASE("simplified expressions keep their value and stay as they are") {
  const unsigned seed = seed_of_run() + 1000;
  Maker maker(seed);
  INFO("REPRO: QUERN_SEED=" << seed - 1000);
  for (int round = 0; round < 4000; ++round) {
    const int kind = maker.pick(3), depth = 1 + maker.pick(4);
    const Expr e = kind == 0 ? maker.integer(depth) : kind == 1 ? maker.condition(depth) : maker.real(depth);
    const compiler::Ranges ranges(maker.b.p);
    const Expr out = compiler::simplified(maker.b.p, ranges, e);
    INFO(print_expr(maker.b.p, e) << " -> " << print_expr(maker.b.p, out));
    for (int k = 0; k < 6; ++k) {
      const Surroundings s = maker.point();
      REQUIRE(same(maker.b.pool.type(e), evaluate(s, e), evaluate(s, out)));
    }
    REQUIRE(compiler::simplified(maker.b.p, ranges, out) == out);
  }
}
