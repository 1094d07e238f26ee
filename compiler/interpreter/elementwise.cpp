// How errors pass through operators: each rule gives the largest change of the result when the operands move within
// their bounds, then the operator's own error (error_rules.def) is added. Operands that are NaN, infinite or may have
// overflowed take the slow way: every alternative is evaluated and the answers are merged.
#include "compiler/interpreter/elementwise.h"

#include <algorithm>
#include <array>
#include <numbers>

namespace quern::interpreter {

using ir::Op;

namespace {

constexpr ErrorRule kRules[] = {
#define QUERN_ERROR(op, ulps, argument, floor) {ulps, argument, floor},
#include "compiler/interpreter/error_rules.def"
};
constexpr Op kOrder[] = {
#define QUERN_ERROR(op, ulps, argument, floor) Op::op,
#include "compiler/interpreter/error_rules.def"
};
constexpr bool in_order() {
  std::size_t i = 0;
  for (Op op : kOrder)
    if (static_cast<std::size_t>(op) != static_cast<std::size_t>(Op::neg) + i++) return false;
  return i == static_cast<std::size_t>(Op::where) - static_cast<std::size_t>(Op::neg) + 1;
}
static_assert(in_order(), "error_rules.def must list the operators of operators.def in their order");

/// Adds the operator's own rounding to what the operands bring.
template <class R>
Value<R> finish(R r, double propagated, double ulps, const Precision& p) {
  double e = propagated + 2 * ulps * p.eps * (std::fabs(static_cast<double>(r)) + propagated);
  if (r != 0 || propagated > 0) e += p.tiny;
  if (std::isnan(e)) e = kInf;
  return Value<R>::real(r, e);
}

/// One correctly rounded operation: exact when its operands are and the result fits.
template <class R>
Value<R> once(R r, double propagated, double ulps, const Precision& p) {
  if (propagated == 0 && representable(r, p)) return Value<R>::real(r);
  return finish(r, propagated, ulps, p);
}

template <class R>
double spread(R r, R low, R high) {
  return static_cast<double>(std::fmax(high - r, r - low));
}

/// Overflow of the interpreter's own type: as far out as it goes, still an overflow that may be avoided.
template <class R>
R held(R r) {
  return std::isinf(r) ? std::copysign(std::numeric_limits<R>::max(), r) : r;
}

template <class R>
Value<R> anything(R r) {
  return Value<R>::real(r, kInf);
}

template <class R>
Value<R> power(const Precision& p, const Value<R>& a, const Value<R>& b) {
  const R raw = std::pow(a.v, b.v);
  if (!std::isfinite(raw)) {
    if (a.v == 0 || std::isnan(raw)) return a.e + b.e == 0 ? Value<R>::real(raw) : anything(raw);
  }
  const R r = held(raw);
  const ErrorRule& rule = error_rule(Op::pow);
  const double size = std::fabs(static_cast<double>(a.v));
  const double log = size > 0 ? std::fabs(std::log(size)) : 0;
  const double exponent = std::fabs(static_cast<double>(b.v));
  if (a.e == 0 && b.e == 0) {
    if ((exponent == 1 || exponent == 0 || size == 1 || size == 0) && representable(r, p)) return Value<R>::real(r);
    const double own = std::expm1(rule.argument * p.eps * exponent * log);
    return finish(r, static_cast<double>(std::fabs(r)) * own, rule.ulps, p);
  }
  if (a.e < size && (a.v > 0 || b.e == 0)) {
    const double relative =
        exponent * -std::log1p(-a.e / size) + b.e * (log + a.e / size) + rule.argument * p.eps * exponent * log;
    return finish(r, static_cast<double>(std::fabs(r)) * std::expm1(relative), rule.ulps, p);
  }
  if (b.e != 0 || b.v < 0 || b.v != std::trunc(b.v)) return anything(r);
  const R low = std::pow(a.v - static_cast<R>(a.e), b.v), high = std::pow(a.v + static_cast<R>(a.e), b.v);
  return finish(r, spread(r, std::fmin(std::fmin(low, high), R(0)), std::fmax(std::fmax(low, high), R(0))), rule.ulps,
                p);
}

template <class R>
Value<R> arctangent(const Precision& p, const Value<R>& y, const Value<R>& x) {
  const R r = std::atan2(y.v, x.v);
  const double ulps = error_rule(Op::atan2).ulps;
  if (y.e == 0 && x.e == 0) return r == 0 ? Value<R>::real(r) : finish(r, 0.0, ulps, p);
  const double nx = std::fmax(0.0, std::fabs(static_cast<double>(x.v)) - x.e),
               ny = std::fmax(0.0, std::fabs(static_cast<double>(y.v)) - y.e);
  const bool at_cut = static_cast<double>(x.v) - x.e < 0 && std::fabs(static_cast<double>(y.v)) <= y.e;
  const double squared = nx * nx + ny * ny;
  if (at_cut || squared == 0) return finish(r, 2 * std::numbers::pi, ulps, p);
  const double moved =
      ((std::fabs(static_cast<double>(x.v)) + x.e) * y.e + (std::fabs(static_cast<double>(y.v)) + y.e) * x.e) / squared;
  return finish(r, std::fmin(moved, 2 * std::numbers::pi), ulps, p);
}

template <class R>
Value<R> unary(Op op, const Precision& p, bool nonnegative, const Value<R>& a) {
  const R v = a.v;
  const double e = a.e;
  const R low = nonnegative ? std::fmax(v - static_cast<R>(e), R(0)) : v - static_cast<R>(e),
          high = v + static_cast<R>(e);
  const ErrorRule& rule = error_rule(op);
  const R r = plain<R>(op, v, 0, 0);
  const double size = std::fabs(static_cast<double>(r)), x = static_cast<double>(v);
  switch (op) {
    case Op::neg:
      return Value<R>::real(-v, e);
    case Op::abs:
      return Value<R>::real(r, e);
    case Op::relu:
      return Value<R>::real(r, v + e <= 0 ? 0 : e);
    case Op::sign:
    case Op::floor:
    case Op::ceil:
    case Op::round:
    case Op::trunc:
      if (e == 0) return Value<R>::real(r);
      return Value<R>::real(r, spread(r, plain<R>(op, low, 0, 0), plain<R>(op, high, 0, 0)));
    case Op::exp:
    case Op::exp2:
    case Op::expm1: {
      if (v == 0 && e == 0) return Value<R>::real(r);
      const double scale = op == Op::exp2 ? std::numbers::ln2 : 1;
      const double grown = std::expm1(scale * (e + rule.argument * p.eps * std::fabs(x)));
      const double slope = op == Op::expm1 ? std::exp(x) : static_cast<double>(held(r));
      return finish(held(r), std::fabs(slope) * grown, rule.ulps, p);
    }
    case Op::log:
    case Op::log2: {
      if (low <= 0 && !(e == 0)) return high < 0 ? Value<R>::real(r) : anything(r);
      if (v <= 0 || (v == 1 && e == 0)) return Value<R>::real(r);
      return finish(r, -std::log1p(-e / x) / (op == Op::log2 ? std::numbers::ln2 : 1), rule.ulps, p);
    }
    case Op::log1p: {
      if (low <= -1 && !(e == 0)) return high < -1 ? Value<R>::real(r) : anything(r);
      if (v <= -1 || (v == 0 && e == 0)) return Value<R>::real(r);
      return finish(r, -std::log1p(-e / (1 + x)), rule.ulps, p);
    }
    case Op::sqrt:
      if (v < 0 && high < 0) return Value<R>::real(r);
      if (low < 0) return v < 0 && e == 0 ? Value<R>::real(r) : anything(r);
      return once(r, e == 0 ? 0.0 : spread(r, std::sqrt(low), std::sqrt(high)), rule.ulps, p);
    case Op::rsqrt:
      if (high < 0 || (v == 0 && e == 0)) return Value<R>::real(r);
      if (low <= 0) return anything(r);
      return finish(r, e == 0 ? 0.0 : static_cast<double>(1 / std::sqrt(low) - r), rule.ulps, p);
    case Op::sin:
    case Op::cos: {
      if (op == Op::sin && v == 0 && e == 0) return Value<R>::real(r);
      const double slope = op == Op::sin ? std::fabs(std::cos(x)) : std::fabs(std::sin(x));
      return finish(r, std::fmin(2.0, slope * e + e * e / 2) + rule.floor * p.eps, rule.ulps, p);
    }
    case Op::tan: {
      if (v == 0 && e == 0) return Value<R>::real(r);
      const double moved = (1 + size * size) * (e + rule.floor * p.eps);
      return e * (1 + size) > 0.1 ? anything(r) : finish(r, 1.3 * moved, rule.ulps, p);
    }
    case Op::asin:
    case Op::acos:
      if (std::fabs(v) > 1 && std::fabs(x) - e > 1) return Value<R>::real(r);
      if (std::fabs(x) + e > 1) return anything(r);
      if (v == 0 && e == 0 && op == Op::asin) return Value<R>::real(r);
      return finish(r,
                    spread(r, std::fmin(plain<R>(op, low, 0, 0), plain<R>(op, high, 0, 0)),
                           std::fmax(plain<R>(op, low, 0, 0), plain<R>(op, high, 0, 0))) +
                        rule.floor * p.eps,
                    rule.ulps, p);
    case Op::sinh:
    case Op::cosh: {
      if (v == 0 && e == 0) return Value<R>::real(r);
      const R grown = plain<R>(op, std::fabs(v) + static_cast<R>(e + rule.argument * p.eps * std::fabs(x)), 0, 0);
      return finish(held(r), static_cast<double>(held(grown) - std::fabs(held(r))), rule.ulps, p);
    }
    case Op::cbrt:
    case Op::atan:
    case Op::tanh:
    case Op::erf:
    case Op::sigmoid: {
      if (e == 0)
        return r == 0 ? Value<R>::real(r)
                      : finish(r, op == Op::sigmoid ? size * rule.argument * p.eps * std::fabs(x) : 0.0, rule.ulps, p);
      const double own = op == Op::sigmoid ? size * rule.argument * p.eps * std::fabs(x) : 0;
      return finish(r, spread(r, plain<R>(op, low, 0, 0), plain<R>(op, high, 0, 0)) + own, rule.ulps, p);
    }
    case Op::gelu:
      return r == 0 && v == 0 && e == 0 ? Value<R>::real(r)
                                        : finish(r, 1.13 * e + rule.floor * p.eps * std::fabs(x), rule.ulps, p);
    case Op::silu:
      return v == 0 && e == 0 ? Value<R>::real(r)
                              : finish(r, 1.1 * e + size * rule.argument * p.eps * std::fabs(x), rule.ulps, p);
    case Op::softplus: {
      const double slope = 1 / (1 + std::exp(-(x + e)));
      return finish(r, slope * (e + rule.argument * p.eps * std::fabs(x)), rule.ulps, p);
    }
    default:
      return anything(r);
  }
}

template <class R>
Value<R> divided(const Precision& p, const Value<R>& a, const Value<R>& b) {
  const R r = a.v / b.v;
  const double size = std::fabs(static_cast<double>(b.v)), rules = error_rule(Op::div).ulps;
  if (b.v == 0 && b.e == 0)
    return a.e == 0 || std::fabs(static_cast<double>(a.v)) > a.e ? Value<R>::real(r) : anything(r);
  if (size <= b.e) return anything(r);
  const R h = held(r);
  const double propagated = (a.e + std::fabs(static_cast<double>(h)) * b.e) / (size - b.e);
  return once(h, propagated, rules, p);
}

template <class R>
Value<R> binary(Op op, const Precision& p, const Value<R>& a, const Value<R>& b) {
  switch (op) {
    case Op::add:
      return once(held(a.v + b.v), a.e + b.e, 0.5, p);
    case Op::sub:
      return once(held(a.v - b.v), a.e + b.e, 0.5, p);
    case Op::mul: {
      const double propagated = a.e == 0 && b.e == 0 ? 0
                                                     : std::fabs(static_cast<double>(a.v)) * b.e +
                                                           std::fabs(static_cast<double>(b.v)) * a.e + a.e * b.e;
      return once(held(a.v * b.v), propagated, 0.5, p);
    }
    case Op::div:
      return divided(p, a, b);
    case Op::min:
    case Op::max: {
      const bool least = op == Op::min;
      const R r = least ? std::fmin(a.v, b.v) : std::fmax(a.v, b.v);
      if (a.e == 0 && b.e == 0) return Value<R>::real(r);
      const R al = a.v - static_cast<R>(a.e), ah = a.v + static_cast<R>(a.e), bl = b.v - static_cast<R>(b.e),
              bh = b.v + static_cast<R>(b.e);
      return Value<R>::real(
          r, least ? spread(r, std::fmin(al, bl), std::fmin(ah, bh)) : spread(r, std::fmax(al, bl), std::fmax(ah, bh)));
    }
    case Op::pow:
      return power(p, a, b);
    case Op::atan2:
      return arctangent(p, a, b);
    case Op::hypot:
      return finish(held(plain<R>(op, a.v, b.v, 0)), a.e + b.e, error_rule(op).ulps, p);
    case Op::logaddexp: {
      const R r = plain<R>(op, a.v, b.v, 0);
      const double scale = std::fmax(std::fabs(static_cast<double>(a.v)), std::fabs(static_cast<double>(b.v)));
      return finish(r, std::fmax(a.e, b.e) + error_rule(op).floor * p.eps * scale, error_rule(op).ulps, p);
    }
    default:
      return anything(plain<R>(op, a.v, b.v, 0));
  }
}

template <class R>
Value<R> tame_float(Op op, const Precision& p, bool nonnegative, const Value<R>& a, const Value<R>& b,
                    const Value<R>& c) {
  const int arity = ir::info(op).arity;
  if (arity == 1) return unary(op, p, nonnegative, a);
  if (arity == 2) return binary(op, p, a, b);
  const R product = a.v * b.v;
  const double propagated =
      std::fabs(static_cast<double>(a.v)) * b.e + std::fabs(static_cast<double>(b.v)) * a.e + a.e * b.e + c.e;
  if (propagated == 0 && representable(product, p)) return once(held(product + c.v), 0.0, 0.5, p);
  return finish(held(product + c.v),
                propagated + error_rule(op).floor * p.eps * std::fabs(static_cast<double>(product)), 0.5, p);
}

/// What an operand that is not tame may be in an implementation.
template <class R>
int alternatives(const Value<R>& a, const Precision& p, std::array<Value<R>, 2>& out) {
  out[0] = a;
  if (tame(a, p) || !std::isfinite(a.v)) return 1;
  out[1] = Value<R>::real(std::copysign(static_cast<R>(kInf), a.v));
  return 2;
}

/// The operator at the ends of the operands' bounds, some of which are infinite or NaN.
template <class R>
Value<R> at_ends(Op op, const Precision& p, const std::array<Value<R>, 3>& x) {
  const int arity = ir::info(op).arity;
  Value<R> out{};
  bool first = true;
  for (int corner = 0; corner < (1 << arity); ++corner) {
    std::array<R, 3> at = {0, 0, 0};
    for (int k = 0; k < arity; ++k)
      at[static_cast<std::size_t>(k)] =
          x[static_cast<std::size_t>(k)].v +
          static_cast<R>(corner >> k & 1 ? x[static_cast<std::size_t>(k)].e : -x[static_cast<std::size_t>(k)].e);
    const R r = plain<R>(op, at[0], at[1], at[2]);
    const Value<R> here = std::isfinite(r) ? finish(r, 0.0, error_rule(op).ulps, p) : Value<R>::real(r);
    out = first ? here : merged(out, here, p);
    first = false;
  }
  return out;
}

template <class R>
[[gnu::noinline]] Value<R> exotic(Op op, const Precision& p, bool nonnegative, const std::array<Value<R>, 3>& x) {
  const int arity = ir::info(op).arity;
  for (int k = 0; k < arity; ++k)
    if (x[static_cast<std::size_t>(k)].e == kInf) return anything(plain<R>(op, x[0].v, x[1].v, x[2].v));
  std::array<std::array<Value<R>, 2>, 3> choices{};
  std::array<int, 3> counts = {1, 1, 1};
  for (int k = 0; k < arity; ++k)
    counts[static_cast<std::size_t>(k)] =
        alternatives(x[static_cast<std::size_t>(k)], p, choices[static_cast<std::size_t>(k)]);
  Value<R> out{};
  bool first = true;
  for (int i = 0; i < counts[0]; ++i)
    for (int j = 0; j < counts[1]; ++j)
      for (int k = 0; k < counts[2]; ++k) {
        const std::array<Value<R>, 3> at = {choices[0][static_cast<std::size_t>(i)],
                                            choices[1][static_cast<std::size_t>(j)],
                                            choices[2][static_cast<std::size_t>(k)]};
        const bool finite =
            std::isfinite(at[0].v) && (arity < 2 || std::isfinite(at[1].v)) && (arity < 3 || std::isfinite(at[2].v));
        const Value<R> here = finite ? tame_float(op, p, nonnegative, at[0], at[1], at[2]) : at_ends(op, p, at);
        out = first ? here : merged(out, here, p);
        first = false;
      }
  return out;
}

}  // namespace

const ErrorRule& error_rule(Op op) { return kRules[static_cast<std::size_t>(op) - static_cast<std::size_t>(Op::neg)]; }

template <class R>
R plain(Op op, R a, R b, R c) {
  switch (op) {
    case Op::neg:
      return -a;
    case Op::abs:
      return std::fabs(a);
    case Op::sign:
      return std::isnan(a) ? a : a > 0 ? R(1) : a < 0 ? R(-1) : R(0);
    case Op::relu:
      return std::isnan(a) ? a : a > 0 ? a : R(0);
    case Op::floor:
      return std::floor(a);
    case Op::ceil:
      return std::ceil(a);
    case Op::round: {  // to even, whatever the host's rounding mode; -0.3 gives -0
      const R down = std::floor(a), rest = a - down;
      if (!std::isfinite(a)) return a;
      const bool up = rest == R(0.5) ? std::fmod(down, R(2)) != 0 : rest > R(0.5);
      return std::copysign(up ? down + 1 : down, a);
    }
    case Op::trunc:
      return std::trunc(a);
    case Op::exp:
      return std::exp(a);
    case Op::exp2:
      return std::exp2(a);
    case Op::expm1:
      return std::expm1(a);
    case Op::log:
      return std::log(a);
    case Op::log2:
      return std::log2(a);
    case Op::log1p:
      return std::log1p(a);
    case Op::sqrt:
      return std::sqrt(a);
    case Op::rsqrt:
      return 1 / std::sqrt(a);
    case Op::cbrt:
      return std::cbrt(a);
    case Op::sin:
      return std::sin(a);
    case Op::cos:
      return std::cos(a);
    case Op::tan:
      return std::tan(a);
    case Op::asin:
      return std::asin(a);
    case Op::acos:
      return std::acos(a);
    case Op::atan:
      return std::atan(a);
    case Op::sinh:
      return std::sinh(a);
    case Op::cosh:
      return std::cosh(a);
    case Op::tanh:
      return std::tanh(a);
    case Op::erf:
      return std::erf(a);
    case Op::sigmoid:
      return a >= 0 ? 1 / (1 + std::exp(-a)) : std::exp(a) / (1 + std::exp(a));
    case Op::gelu:
      return a == -static_cast<R>(kInf) ? R(-0.0) : a * std::erfc(-a / std::sqrt(R(2))) / 2;
    case Op::silu:
      return a == -static_cast<R>(kInf) ? R(-0.0) : a * plain<R>(Op::sigmoid, a, 0, 0);
    case Op::softplus:
      return std::isnan(a) ? a : std::fmax(a, R(0)) + std::log1p(std::exp(-std::fabs(a)));
    case Op::add:
      return a + b;
    case Op::sub:
      return a - b;
    case Op::mul:
      return a * b;
    case Op::div:
      return a / b;
    case Op::pow:
      return std::pow(a, b);
    case Op::min:
      return std::isnan(a) ? a : std::isnan(b) ? b : std::fmin(a, b);
    case Op::max:
      return std::isnan(a) ? a : std::isnan(b) ? b : std::fmax(a, b);
    case Op::atan2:
      return std::atan2(a, b);
    case Op::hypot:
      return std::hypot(a, b);
    case Op::logaddexp: {
      if (std::isnan(a) || std::isnan(b)) return a + b;
      const R m = std::fmax(a, b);
      return std::isinf(m) ? m : m + std::log1p(std::exp(-std::fabs(a - b)));
    }
    case Op::fma:
      return a * b + c;
    default:
      return std::numeric_limits<R>::quiet_NaN();
  }
}

template <class R>
Value<R> apply_float(Op op, const Precision& p, bool nonnegative, const Value<R>& a, const Value<R>& b,
                     const Value<R>& c) {
  const int arity = ir::info(op).arity;
  if (!tame(a, p) || (arity > 1 && !tame(b, p)) || (arity > 2 && !tame(c, p)))
    return exotic<R>(op, p, nonnegative, {a, b, c});
  return tame_float(op, p, nonnegative, a, b, c);
}

template <class R>
Value<R> by_reciprocal(const Precision& p, const Value<R>& b, const Value<R>& quotient) {
  int exponent = 0;
  const double size = std::fabs(static_cast<double>(quotient.v));
  const bool exact = size == 0 || !std::isfinite(size) || quotient.e == kInf || std::isinf(b.v);
  if (exact || std::frexp(std::fabs(static_cast<double>(b.v)), &exponent) == 0.5) return quotient;
  return Value<R>::real(quotient.v, quotient.e + 2 * p.eps * (size + quotient.e) + p.tiny);
}

template <class R>
Value<R> exp_of_sum(Op op, const Precision& p, const Value<R>& x, const Value<R>& y) {
  Value<R> sum = apply_float(op, p, false, x, y, y);
  // Each exponent may be scaled and rounded before they meet.
  if (tame(x, p) && tame(y, p))
    sum.e += error_rule(Op::exp).argument * p.eps *
             (std::fabs(static_cast<double>(x.v)) + std::fabs(static_cast<double>(y.v)));
  return apply_float(Op::exp, p, false, sum, sum, sum);
}

template <class R>
Value<R> compare_float(Op op, const Precision& p, const Value<R>& a, const Value<R>& b) {
  auto truth = [](bool yes, bool open) { return Value<R>::integer(yes, open ? 1 : 0); };
  if (op == Op::isnan || op == Op::isinf || op == Op::isfinite) {
    const bool yes = op == Op::isnan ? std::isnan(a.v) : op == Op::isinf ? std::isinf(a.v) : std::isfinite(a.v);
    if (a.e == kInf) return truth(yes, true);
    const bool may_overflow = std::isfinite(a.v) && !tame(a, p);
    return truth(yes, may_overflow && op != Op::isnan);
  }
  bool yes = false;
  switch (op) {
    case Op::eq:
      yes = a.v == b.v;
      break;
    case Op::ne:
      yes = a.v != b.v;
      break;
    case Op::lt:
      yes = a.v < b.v;
      break;
    case Op::le:
      yes = a.v <= b.v;
      break;
    case Op::gt:
      yes = a.v > b.v;
      break;
    default:
      yes = a.v >= b.v;
      break;
  }
  if (a.e == kInf || b.e == kInf) return truth(yes, true);
  if (std::isnan(a.v) || std::isnan(b.v)) return truth(yes, false);
  if (tame(a, p) && tame(b, p))
    return truth(yes, a.e + b.e > 0 && std::fabs(static_cast<double>(a.v - b.v)) <= a.e + b.e);
  // An infinity, or a value that may be one: the other side tells only if it is tame or of the other sign.
  const bool same_sign = std::signbit(a.v) == std::signbit(b.v);
  const bool both_out = !tame(a, p) && !tame(b, p) && same_sign;
  return truth(yes, both_out && (std::isfinite(a.v) || std::isfinite(b.v)));
}

template <class R>
Value<R> rounded(DType to, const Value<R>& a, const Precision& from) {
  auto round = [to](R x) { return to == DType::f64 ? x : static_cast<R>(rounded_to(to, static_cast<double>(x))); };
  if (a.e == kInf) return anything(a.v);
  if (std::isfinite(a.v) && !tame(a, from))  // an overflow that may have been avoided
    return merged(Value<R>::real(round(a.v)), Value<R>::real(round(std::copysign(static_cast<R>(kInf), a.v))),
                  precision_of(to));
  const R r = round(a.v);
  if (a.e == 0) return Value<R>::real(r);
  const R low = round(a.v - static_cast<R>(a.e)), high = round(a.v + static_cast<R>(a.e));
  if (std::isinf(low) != std::isinf(r) || std::isinf(high) != std::isinf(r)) return anything(r);
  return Value<R>::real(r, std::isfinite(r) ? spread(r, low, high) : 0);
}

template <class R>
Value<R> maybe_rounded(DType to, const Value<R>& a, const Precision& from) {
  if (a.e == kInf || !tame(a, from)) return a;
  const Precision p = precision_of(to);
  const double size = std::fabs(static_cast<double>(a.v));
  if (a.e == 0 && static_cast<R>(rounded_to(to, static_cast<double>(a.v))) == a.v) return a;
  if (size + a.e > p.largest) return anything(a.v);
  return Value<R>::real(a.v, a.e + p.eps * (size + a.e) + p.tiny / 2);
}

#define QUERN_INSTANTIATE(R)                                                                                       \
  template R plain<R>(Op, R, R, R);                                                                                \
  template Value<R> apply_float<R>(Op, const Precision&, bool, const Value<R>&, const Value<R>&, const Value<R>&); \
  template Value<R> by_reciprocal<R>(const Precision&, const Value<R>&, const Value<R>&);                           \
  template Value<R> exp_of_sum<R>(Op, const Precision&, const Value<R>&, const Value<R>&);                         \
  template Value<R> compare_float<R>(Op, const Precision&, const Value<R>&, const Value<R>&);                      \
  template Value<R> rounded<R>(DType, const Value<R>&, const Precision&);                                          \
  template Value<R> maybe_rounded<R>(DType, const Value<R>&, const Precision&);
QUERN_INSTANTIATE(double)
QUERN_INSTANTIATE(long double)
#undef QUERN_INSTANTIATE

}  // namespace quern::interpreter
