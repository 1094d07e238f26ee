// Tree walk over expressions of symbols. See evaluate.h.
#include "runtime/evaluate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace quern::runtime {
namespace {

using ir::Expr;
using ir::Node;
using ir::Op;

bool is_integral(DType type) { return is_integer(type) || type == DType::boolean; }

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return -a;  // the caller has excluded the lowest integer
  const std::int64_t q = a / b;
  return (a % b != 0 && ((a < 0) != (b < 0))) ? q - 1 : q;
}

std::optional<std::int64_t> compare(Op op, double a, double b) {
  switch (op) {
    case Op::eq: return a == b;
    case Op::ne: return a != b;
    case Op::lt: return a < b;
    case Op::le: return a <= b;
    case Op::gt: return a > b;
    case Op::ge: return a >= b;
    default: return std::nullopt;
  }
}

std::optional<std::int64_t> compare(Op op, std::int64_t a, std::int64_t b) {
  switch (op) {
    case Op::eq: return a == b;
    case Op::ne: return a != b;
    case Op::lt: return a < b;
    case Op::le: return a <= b;
    case Op::gt: return a > b;
    case Op::ge: return a >= b;
    default: return std::nullopt;
  }
}

std::string write(const ir::Program& p, Expr e, int outer) {
  const Node& n = p.pool[e];
  const auto infix = [&](const char* op, int level) {
    std::string text = fmt::format("{} {} {}", write(p, n.args[0], level), op, write(p, n.args[1], level + 1));
    return level < outer ? fmt::format("({})", text) : text;
  };
  switch (n.op) {
    case Op::constant: {
      if (std::int64_t value; p.pool.is_integer_constant(e, &value)) {
        if (n.type == DType::boolean) return value ? "true" : "false";
        return fmt::to_string(value);
      }
      double real = 0;
      p.pool.is_real_constant(e, &real);
      return fmt::to_string(real);
    }
    case Op::symbol: return p.symbols[static_cast<std::size_t>(n.payload)].name;
    case Op::scalar: return p.scalars[static_cast<std::size_t>(n.payload)].name;
    case Op::cast: return write(p, n.args[0], outer);
    case Op::mul: {
      std::string text = fmt::format("{}*{}", write(p, n.args[0], 5), write(p, n.args[1], 6));
      return 5 < outer ? fmt::format("({})", text) : text;
    }
    case Op::floordiv: return infix("div", 5);
    case Op::mod: return infix("mod", 5);
    case Op::div: return infix("/", 5);
    case Op::add: return infix("+", 4);
    case Op::sub: return infix("-", 4);
    case Op::eq: return infix("==", 3);
    case Op::ne: return infix("!=", 3);
    case Op::lt: return infix("<", 3);
    case Op::le: return infix("<=", 3);
    case Op::gt: return infix(">", 3);
    case Op::ge: return infix(">=", 3);
    case Op::and_: return infix("and", 2);
    case Op::or_: return infix("or", 1);
    default: break;
  }
  std::string text = fmt::format("{}(", ir::name(n.op));
  for (std::size_t i = 0; i < n.args.size(); ++i) text += (i ? ", " : "") + write(p, n.args[i], 0);
  return text + ")";
}

}  // namespace

std::string text_of(const ir::Program& program, Expr expr) { return write(program, expr, 0); }

std::optional<std::int64_t> evaluate_integer(Evaluation& e, Expr expr) {
  const ir::ExprPool& pool = e.program->pool;
  const Node& n = pool[expr];
  switch (n.op) {
    case Op::constant: {
      std::int64_t value = 0;
      if (pool.is_integer_constant(expr, &value)) return value;
      return std::nullopt;
    }
    case Op::symbol: {
      const ir::Symbol& symbol = e.program->symbols[static_cast<std::size_t>(n.payload)];
      return symbol.value ? *symbol.value : e.symbols[n.payload];
    }
    case Op::scalar:
      if (!e.scalars) return std::nullopt;
      return static_cast<std::int64_t>(e.scalars[n.payload]);
    default: break;
  }
  if (n.op == Op::cast) {
    if (is_integral(pool.type(n.args[0]))) return evaluate_integer(e, n.args[0]);
    const auto real = evaluate_real(e, n.args[0]);
    if (!real || std::isnan(*real)) return std::nullopt;
    return static_cast<std::int64_t>(std::clamp(*real, -9.2e18, 9.2e18));
  }
  if (!ir::is_elementwise(n.op)) return std::nullopt;
  if (n.op == Op::where) {
    const auto c = evaluate_integer(e, n.args[0]);
    return c ? evaluate_integer(e, n.args[*c ? 1 : 2]) : std::nullopt;
  }
  if (n.args.empty()) return std::nullopt;
  if (!is_integral(pool.type(n.args[0]))) {
    if (n.args.size() != 2) return std::nullopt;
    const auto a = evaluate_real(e, n.args[0]), b = evaluate_real(e, n.args[1]);
    return a && b ? compare(n.op, *a, *b) : std::nullopt;
  }
  const auto a = evaluate_integer(e, n.args[0]);
  if (!a) return std::nullopt;
  std::int64_t r = 0;
  if (n.args.size() == 1) {
    switch (n.op) {
      case Op::neg:
        if (__builtin_sub_overflow(std::int64_t{0}, *a, &r)) { e.overflow = true; return std::nullopt; }
        return r;
      case Op::abs:
        if (*a == std::numeric_limits<std::int64_t>::min()) { e.overflow = true; return std::nullopt; }
        return *a < 0 ? -*a : *a;
      case Op::sign: return (*a > 0) - (*a < 0);
      case Op::relu: return std::max<std::int64_t>(*a, 0);
      case Op::not_: return !*a;
      default: return std::nullopt;
    }
  }
  if (n.args.size() != 2) return std::nullopt;
  const auto b = evaluate_integer(e, n.args[1]);
  if (!b) return std::nullopt;
  switch (n.op) {
    case Op::add: if (__builtin_add_overflow(*a, *b, &r)) break; return r;
    case Op::sub: if (__builtin_sub_overflow(*a, *b, &r)) break; return r;
    case Op::mul: if (__builtin_mul_overflow(*a, *b, &r)) break; return r;
    case Op::floordiv: if (*b == -1 && *a == std::numeric_limits<std::int64_t>::min()) break; return floor_div(*a, *b);
    case Op::mod: return *b == 0 || *b == -1 ? 0 : *a - floor_div(*a, *b) * *b;
    case Op::min: return std::min(*a, *b);
    case Op::max: return std::max(*a, *b);
    case Op::and_: return *a && *b;
    case Op::or_: return *a || *b;
    case Op::pow: {
      r = 1;
      if (*b < 0) return std::nullopt;
      for (std::int64_t i = 0; i < *b && i < 64 + (*b & 1); ++i)
        if (__builtin_mul_overflow(r, *a, &r)) { e.overflow = true; return std::nullopt; }
      return r;
    }
    default: return compare(n.op, *a, *b);
  }
  e.overflow = true;
  return std::nullopt;
}

std::optional<double> evaluate_real(Evaluation& e, Expr expr) {
  const ir::ExprPool& pool = e.program->pool;
  const Node& n = pool[expr];
  if (is_integral(n.type)) {
    const auto value = evaluate_integer(e, expr);
    return value ? std::optional<double>(static_cast<double>(*value)) : std::nullopt;
  }
  if (n.op == Op::constant) {
    double value = 0;
    return pool.is_real_constant(expr, &value) ? std::optional<double>(value) : std::nullopt;
  }
  if (n.op == Op::scalar) return e.scalars ? std::optional<double>(e.scalars[n.payload]) : std::nullopt;
  if (n.op == Op::cast) {
    const auto value = evaluate_real(e, n.args[0]);
    return value && is_small_float(n.type) && !(n.flags & ir::kAllowed) ? rounded_to(n.type, *value) : value;
  }
  if (!ir::is_elementwise(n.op)) return std::nullopt;
  if (n.op == Op::where) {
    const auto c = evaluate_integer(e, n.args[0]);
    return c ? evaluate_real(e, n.args[*c ? 1 : 2]) : std::nullopt;
  }
  double v[3] = {};
  for (std::size_t i = 0; i < n.args.size(); ++i) {
    const auto value = evaluate_real(e, n.args[i]);
    if (!value) return std::nullopt;
    v[i] = *value;
  }
  switch (n.op) {
    case Op::neg: return -v[0];
    case Op::abs: return std::fabs(v[0]);
    case Op::sign: return std::isnan(v[0]) ? v[0] : static_cast<double>((v[0] > 0) - (v[0] < 0));
    case Op::relu: return std::isnan(v[0]) ? v[0] : std::max(v[0], 0.0);
    case Op::floor: return std::floor(v[0]);
    case Op::ceil: return std::ceil(v[0]);
    case Op::round: return std::nearbyint(v[0]);
    case Op::trunc: return std::trunc(v[0]);
    case Op::exp: return std::exp(v[0]);
    case Op::exp2: return std::exp2(v[0]);
    case Op::expm1: return std::expm1(v[0]);
    case Op::log: return std::log(v[0]);
    case Op::log2: return std::log2(v[0]);
    case Op::log1p: return std::log1p(v[0]);
    case Op::sqrt: return std::sqrt(v[0]);
    case Op::rsqrt: return 1 / std::sqrt(v[0]);
    case Op::cbrt: return std::cbrt(v[0]);
    case Op::sin: return std::sin(v[0]);
    case Op::cos: return std::cos(v[0]);
    case Op::tan: return std::tan(v[0]);
    case Op::asin: return std::asin(v[0]);
    case Op::acos: return std::acos(v[0]);
    case Op::atan: return std::atan(v[0]);
    case Op::sinh: return std::sinh(v[0]);
    case Op::cosh: return std::cosh(v[0]);
    case Op::tanh: return std::tanh(v[0]);
    case Op::erf: return std::erf(v[0]);
    case Op::sigmoid: return 1 / (1 + std::exp(-v[0]));
    case Op::gelu: return v[0] == -HUGE_VAL ? -0.0 : 0.5 * v[0] * (1 + std::erf(v[0] * 0.70710678118654752440));
    case Op::silu: return v[0] == -HUGE_VAL ? -0.0 : v[0] / (1 + std::exp(-v[0]));
    case Op::softplus: return v[0] > 0 ? v[0] + std::log1p(std::exp(-v[0])) : std::log1p(std::exp(v[0]));
    case Op::add: return v[0] + v[1];
    case Op::sub: return v[0] - v[1];
    case Op::mul: return v[0] * v[1];
    case Op::div: return v[0] / v[1];
    case Op::pow: return std::pow(v[0], v[1]);
    case Op::min: return std::isnan(v[0]) || std::isnan(v[1]) ? std::nan("") : std::min(v[0], v[1]);
    case Op::max: return std::isnan(v[0]) || std::isnan(v[1]) ? std::nan("") : std::max(v[0], v[1]);
    case Op::atan2: return std::atan2(v[0], v[1]);
    case Op::hypot: return std::hypot(v[0], v[1]);
    case Op::logaddexp: {
      const double m = std::max(v[0], v[1]);
      return std::isinf(m) ? m : m + std::log(std::exp(v[0] - m) + std::exp(v[1] - m));
    }
    case Op::fma: return std::fma(v[0], v[1], v[2]);
    default: return std::nullopt;
  }
}

}  // namespace quern::runtime
