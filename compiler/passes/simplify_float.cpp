// Rules of simplify for floats and conversions (simplify.h). Each is exact: x * 0 is not 0 (NaN, infinity), x + 0 is not
// x (-0), but x - 0 is x, x / 8 is x * 0.125, and x ** 2 is x * x.
#include <cmath>
#include <limits>
#include <optional>

#include "compiler/passes/simplify.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

bool is_constant(const ExprPool& pool, Expr e, double* value) { return pool.is_real_constant(e, value); }

/// The value in f64; + - * / and sqrt of f32 rounded from there are rounded once.
std::optional<double> evaluated(Op op, double a, double b) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  switch (op) {
    case Op::neg: return -a;
    case Op::abs: return std::fabs(a);
    case Op::floor: return std::floor(a);
    case Op::ceil: return std::ceil(a);
    case Op::trunc: return std::trunc(a);
    case Op::relu: return std::isnan(a) ? nan : a > 0 ? a : 0.0;
    case Op::exp: return std::exp(a);
    case Op::exp2: return std::exp2(a);
    case Op::expm1: return std::expm1(a);
    case Op::log: return std::log(a);
    case Op::log2: return std::log2(a);
    case Op::log1p: return std::log1p(a);
    case Op::sqrt: return std::sqrt(a);
    case Op::rsqrt: return 1 / std::sqrt(a);
    case Op::sin: return std::sin(a);
    case Op::cos: return std::cos(a);
    case Op::tanh: return std::tanh(a);
    case Op::erf: return std::erf(a);
    case Op::add: return a + b;
    case Op::sub: return a - b;
    case Op::mul: return a * b;
    case Op::div: return a / b;
    case Op::pow: return std::pow(a, b);
    case Op::min: return std::isnan(a) || std::isnan(b) ? nan : a < b ? a : b;
    case Op::max: return std::isnan(a) || std::isnan(b) ? nan : a > b ? a : b;
    default: return std::nullopt;
  }
}
std::optional<bool> compared(Op op, double a, double b) {
  switch (op) {
    case Op::eq: return a == b;
    case Op::ne: return a != b;
    case Op::lt: return a < b;
    case Op::le: return a <= b;
    case Op::gt: return a > b;
    case Op::ge: return a >= b;
    case Op::isnan: return std::isnan(a);
    case Op::isinf: return std::isinf(a);
    case Op::isfinite: return std::isfinite(a);
    default: return std::nullopt;
  }
}

Expr folded(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node& n = pool[e];
  if (!is_elementwise(n.op) || n.args.size() > 2) return {};
  double a = 0, b = 0;
  if (!is_constant(pool, n.args[0], &a) || (n.args.size() == 2 && !is_constant(pool, n.args[1], &b))) return {};
  if (n.type == DType::boolean) {
    const auto v = compared(n.op, a, b);
    return v ? pool.boolean(*v) : Expr{};
  }
  // min and max of zeros of different sign: which one is left to the machine.
  if ((n.op == Op::min || n.op == Op::max) && a == 0 && b == 0 && std::signbit(a) != std::signbit(b)) return {};
  const auto v = evaluated(n.op, a, b);
  return v ? pool.real(*v, n.type) : Expr{};
}

/// x - 0, x + (-0), x * -1, --x, a - (-b), (-a) * (-b), (-a) / (-b).
Expr signs(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if (!is_float(n.type)) return {};
  double v = 0;
  auto negated = [&](Expr at) { return pool[at].op == Op::neg ? pool[at].args[0] : Expr{}; };
  switch (n.op) {
    case Op::neg: return negated(n.args[0]);
    case Op::sub:
      if (is_constant(pool, n.args[1], &v) && v == 0 && !std::signbit(v)) return n.args[0];
      if (Expr b = negated(n.args[1])) return pool.add(n.args[0], b);
      return {};
    case Op::add:
      for (int side = 0; side < 2; ++side) {
        if (is_constant(pool, n.args[side], &v) && v == 0 && std::signbit(v)) return n.args[1 - side];
        if (Expr b = negated(n.args[side])) return pool.sub(n.args[1 - side], b);
      }
      return {};
    case Op::mul:
    case Op::div: {
      if (Expr a = negated(n.args[0]))
        if (Expr b = negated(n.args[1])) return pool.apply(n.op, {a, b});
      if (is_constant(pool, n.args[1], &v) && v == -1) return pool.apply(Op::neg, {n.args[0]});
      if (n.op == Op::mul && is_constant(pool, n.args[0], &v) && v == -1) return pool.apply(Op::neg, {n.args[1]});
      return {};
    }
    case Op::abs: {
      if (Expr a = negated(n.args[0])) return pool.apply(Op::abs, {a});
      return pool[n.args[0]].op == Op::abs ? n.args[0] : Expr{};
    }
    default: return {};
  }
}

/// x / 2^k = x * 2^-k: both are the exact quotient, rounded.
Expr division_by_power_of_two(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  double v = 0;
  if (n.op != Op::div || !is_constant(pool, n.args[1], &v) || v == 0 || !std::isfinite(v)) return {};
  int exponent = 0;
  if (std::fabs(std::frexp(v, &exponent)) != 0.5 || exponent < -120 || exponent > 120) return {};
  return pool.mul(n.args[0], pool.real(1 / v, n.type));
}

/// Never negative, and never -0.
bool is_nonnegative(const ExprPool& pool, Expr e, int depth = 6) {
  if (--depth < 0) return false;
  const Node& n = pool[e];
  double v = 0;
  if (is_constant(pool, e, &v)) return v >= 0 && !std::signbit(v);
  switch (n.op) {
    case Op::mul: return n.args[0] == n.args[1] || (is_nonnegative(pool, n.args[0], depth) && is_nonnegative(pool, n.args[1], depth));
    case Op::abs: case Op::exp: case Op::exp2: case Op::sigmoid: case Op::hypot: return true;
    case Op::sqrt: case Op::cast: return is_float(pool.type(n.args[0])) && is_float(n.type) && is_nonnegative(pool, n.args[0], depth);
    case Op::add: case Op::div: return is_nonnegative(pool, n.args[0], depth) && is_nonnegative(pool, n.args[1], depth);
    default: return false;
  }
}

/// Whole powers, and square roots of what cannot be negative (pow(-inf, 0.5) is inf, sqrt(-inf) is NaN).
Expr powers(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  double k = 0;
  if (n.op != Op::pow || !is_constant(pool, n.args[1], &k)) return {};
  const Expr x = n.args[0];
  if (k == 0) return pool.real(1, n.type);
  if (k == 1) return x;
  if (k == 2) return pool.mul(x, x);
  if (k == -1) return pool.div(pool.real(1, n.type), x);
  if (k == 0.5 && is_nonnegative(pool, x)) return pool.apply(Op::sqrt, {x});
  return {};
}

/// max(max(x, c), d) = max(x, max(c, d)); max(max(x, y), y) = max(x, y).
Expr nested_extremes(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if (n.op != Op::min && n.op != Op::max) return {};
  for (int side = 0; side < 2; ++side) {
    const Node inner = pool[n.args[side]];
    const Expr other = n.args[1 - side];
    if (inner.op != n.op) continue;
    if (inner.args[0] == other || inner.args[1] == other) return n.args[side];
    if (!pool.is_constant(other)) continue;
    for (int k = 0; k < 2; ++k)
      if (pool.is_constant(inner.args[k])) {
        const Expr both = pool.apply(n.op, {inner.args[k], other});
        const Expr constant = pool.is_constant(both) ? both : folded(s, both);
        if (constant) return pool.apply(n.op, {inner.args[1 - k], constant});
      }
  }
  return {};
}

/// Every value of `from` is a value of `to`.
bool holds_exactly(DType from, DType to) {
  if (from == to) return true;
  auto bits = [](DType t) { return static_cast<int>(size_of(t)) * 8; };
  if (from == DType::boolean) return true;
  if (is_float(from)) {
    if (!is_float(to)) return false;
    if (to == DType::f64) return true;
    if (to == DType::f32) return from != DType::f64;
    return from == DType::e4m3 || from == DType::e5m2 ? to == DType::f16 || to == DType::bf16 : false;
  }
  if (is_float(to)) {
    const int digits = to == DType::f64 ? 53 : to == DType::f32 ? 24 : 0;
    return bits(from) - (from == DType::u8 ? 0 : 1) <= digits;
  }
  if (from == DType::u8) return bits(to) > 8;
  return to != DType::u8 && to != DType::boolean && bits(to) >= bits(from);
}

/// A conversion that keeps every value is not seen by the next one.
Expr double_casts(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if (n.op != Op::cast) return {};
  const Node inner = pool[n.args[0]];
  if (inner.op != Op::cast) return {};
  const DType from = pool.type(inner.args[0]);
  if (!holds_exactly(from, inner.type)) return {};
  // bool and integers go to a type by wrapping or rounding; the way through an exact type ends in the same value only
  // when the last step is the same kind of step.
  if (is_float(inner.type) && !is_float(from) && !is_float(n.type)) return {};
  if (n.type == DType::boolean) return {};
  // Stored types are left through f32, as everywhere else.
  if (is_small_float(from) && n.type != DType::f32 && n.type != DType::f64) return {};
  return pool.cast(inner.args[0], n.type, n.flags);
}

constexpr SimplifyRule kRules[] = {
    {"folded", folded},
    {"signs", signs},
    {"division_by_power_of_two", division_by_power_of_two},
    {"powers", powers},
    {"nested_extremes", nested_extremes},
    {"double_casts", double_casts},
};

}  // namespace

std::span<const SimplifyRule> float_rules() { return kRules; }

}  // namespace quern::compiler
