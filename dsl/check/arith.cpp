// Promotion and conversion. See language.md, Arithmetic: small floats compute in f32, integer with float gives the
// float, int / int is f32, bool counts as i32 in arithmetic, weak literals take the type beside them.
#include "dsl/check/arith.h"

#include <algorithm>
#include <functional>
#include <unordered_map>

namespace quern::dsl {

using ir::Expr;
using ir::Op;
using ir::TypeRule;

DType promoted(DType a, DType b) {
  if (a == b) return a;
  const bool fa = is_float(a), fb = is_float(b);
  if (fa != fb) return fa ? a : b;
  if (!fa) {
    if (a == DType::boolean) return b == DType::boolean ? DType::i32 : b;
    if (b == DType::boolean) return a;
    if (size_of(a) != size_of(b)) return size_of(a) > size_of(b) ? a : b;
    return DType::i16;  // i8 with u8
  }
  if (size_of(a) == 1 && size_of(b) == 1) return DType::f16;  // e4m3 with e5m2: f16 holds both exactly
  if (size_of(a) != size_of(b)) return size_of(a) > size_of(b) ? a : b;
  return DType::f32;  // f16 with bf16
}

namespace {
DType compute_type(DType t) { return is_small_float(t) ? DType::f32 : t; }

bool fits(DType type, std::int64_t v) { return wrapped_to(type, v) == v; }
}  // namespace

Arith::Common Arith::common(std::span<const Typed> args) {
  bool any_float = false, any_f64 = false, any_real = false, any_size = false, any_strong = false;
  DType integer = DType::boolean;
  bool first = true;
  for (const Typed& x : args) {
    const DType t = type(x);
    if (x.strength == Strength::strong) {
      if (is_float(t)) {
        any_float = true;
        any_f64 |= t == DType::f64;
      } else {
        integer = first ? t : integer == t ? t : promoted(integer, t);
        first = false;
        any_strong = true;
      }
    }
    any_real |= x.strength == Strength::literal_real;
    any_size |= x.strength == Strength::size;
  }
  if (any_float) return {any_f64 ? DType::f64 : DType::f32, Strength::strong};
  if (any_real) return any_strong ? Common{DType::f32, Strength::strong} : Common{DType::f64, Strength::literal_real};
  if (any_strong) {
    if (any_size) return {DType::i64, Strength::strong};
    for (const Typed& x : args) {
      if (x.strength != Strength::literal_integer) continue;
      std::int64_t v = 0;
      const bool known = pool.is_integer_constant(x.expr, &v);
      if (integer == DType::boolean) integer = DType::i32;
      if (!known || !fits(integer, v))
        integer = known && fits(DType::i32, v) ? promoted(integer, DType::i32) : DType::i64;
    }
    return {integer, Strength::strong};
  }
  return {DType::i64, any_size ? Strength::size : Strength::literal_integer};
}

// A weak real is made of literals, sizes and elementwise operators alone: its tree is built again in the new type.
Expr Arith::retyped(Expr root, DType to) {
  std::unordered_map<Expr, Expr> done;
  std::function<Expr(Expr)> visit = [&](Expr e) -> Expr {
    const ir::Node n = pool[e];
    if (n.type != DType::f64 || to == DType::f64) return e;
    if (n.op == Op::constant) return pool.cast(e, to);
    if (n.op == Op::cast) return pool.cast(n.args[0], to);
    if (!ir::is_elementwise(n.op)) return pool.cast(e, to);
    if (auto it = done.find(e); it != done.end()) return it->second;
    std::vector<Expr> args;
    for (std::size_t i = 0; i < n.args.size(); ++i)
      args.push_back(n.op == Op::where && i == 0 ? n.args[0] : visit(n.args[i]));
    const Expr out = pool.apply(n.op, args);
    done.emplace(e, out);
    return out;
  };
  return visit(root);
}

Expr Arith::cast(const Typed& x, DType to) {
  if (!x) return {};
  const DType from = type(x);
  if (from == to) return x.expr;
  if (x.strength == Strength::literal_real) {
    if (to == DType::f64) return x.expr;
    if (is_float(to)) return pool.cast(retyped(x.expr, DType::f32), to);
    return pool.cast(x.expr, to);
  }
  if (to == DType::boolean) {
    const Expr value = is_small_float(from) ? pool.cast(x.expr, DType::f32) : x.expr;
    const DType t = pool.type(value);
    return pool.apply(Op::ne, {value, is_float(t) ? pool.real(0, t) : pool.integer(0, t)});
  }
  // Small floats pass through f32, which holds them exactly.
  if (is_small_float(from) && to != DType::f32) return pool.cast(pool.cast(x.expr, DType::f32), to);
  return pool.cast(x.expr, to);
}

Typed Arith::resolved(const Typed& x) {
  if (!x) return x;
  Typed out = x;
  out.strength = Strength::strong;
  switch (x.strength) {
    case Strength::literal_integer: {
      std::int64_t v = 0;
      out.expr =
          pool.cast(x.expr, pool.is_integer_constant(x.expr, &v) && fits(DType::i32, v) ? DType::i32 : DType::i64);
      break;
    }
    case Strength::size:
      break;
    case Strength::literal_real:
      out.expr = cast(x, DType::f32);
      break;
    case Strength::strong:
      out.expr = cast(x, compute_type(type(x)));
      break;
  }
  return out;
}

Typed Arith::real(const Typed& x) {
  if (!x) return x;
  Typed out = x;
  out.strength = Strength::strong;
  out.expr = cast(x, x.strength == Strength::strong && type(x) == DType::f64 ? DType::f64 : DType::f32);
  return out;
}

Expr Arith::condition(const Typed& x, std::string_view what) {
  if (!x) return {};
  if (type(x) == DType::boolean) return x.expr;
  diagnostics.report<Code::not_bool>(x.span, what, name(type(x))).label("not a bool").fix("compare it, as in 'x != 0'");
  return {};
}

Typed Arith::apply(Op op, std::span<const Typed> args, Span at) {
  if (std::any_of(args.begin(), args.end(), [](const Typed& x) { return !x; })) return {{}, Strength::strong, at, {}};
  const ir::OperatorInfo& row = ir::info(op);
  std::vector<Expr> out;
  if (row.rule == TypeRule::Logic) {
    for (const Typed& x : args)
      out.push_back(condition(x, op == Op::not_   ? "the operand of 'not'"
                                 : op == Op::and_ ? "an operand of 'and'"
                                                  : "an operand of 'or'"));
    if (std::any_of(out.begin(), out.end(), [](Expr e) { return !e; })) return {{}, Strength::strong, at, {}};
    return {pool.apply(op, out), Strength::strong, at, {}};
  }
  const std::size_t first = op == Op::where ? 1 : 0;
  if (first) {
    const Expr c = condition(args[0], "the condition of 'where'");
    if (!c) return {{}, Strength::strong, at, {}};
    out.push_back(c);
  }
  Common c = common(args.subspan(first));
  const bool keeps_bool = row.rule == TypeRule::Compare || row.rule == TypeRule::Choose;
  if (c.type == DType::boolean && !keeps_bool) c.type = DType::i32;
  if (row.rule == TypeRule::Integer && is_float(c.type)) {
    const auto bad = std::find_if(args.begin(), args.end(), [&](const Typed& x) { return is_float(type(x)); });
    diagnostics.report<Code::needs_integers>(at, row.infix, name(type(*bad)))
        .label("works on integers only")
        .fix("write floor(a / b), or cast with i32(...)");
    return {{}, Strength::strong, at, {}};
  }
  bool as_real = row.rule == TypeRule::Real || row.rule == TypeRule::Test;
  if (op == Op::pow && !is_float(c.type)) {
    std::int64_t power = 0, base = 0;
    const bool fixed = pool.is_integer_constant(args[1].expr, &power);
    as_real = !(fixed && power >= 0);
    if (!as_real && pool.is_integer_constant(args[0].expr, &base)) {
      std::int64_t value = 1;
      bool exact = power <= 64 || base == 0 || base == 1 || base == -1;
      if (base == 0 || base == 1 || base == -1) power = power == 0 ? 0 : 2 - power % 2;
      for (std::int64_t i = 0; exact && i < power; ++i) exact = !__builtin_mul_overflow(value, base, &value);
      if (exact && c.strength != Strength::strong) return {pool.integer(value), c.strength, at, {}};
    }
  }
  if (as_real && !is_float(c.type)) {
    if (c.strength == Strength::strong)
      c.type = DType::f32;
    else
      c = {DType::f64, Strength::literal_real};
  }
  for (const Typed& x : args.subspan(first)) out.push_back(cast(x, c.type));
  const bool rounding = op == Op::floor || op == Op::ceil || op == Op::round || op == Op::trunc;
  if (rounding && !is_float(c.type)) return {out[0], c.strength, at, {}};
  // -1 is a literal too.
  double v = 0;
  if (op == Op::neg && pool.is_real_constant(out[0], &v)) return {pool.real(-v, c.type), c.strength, at, {}};
  // Arithmetic of literals is done once, before a type is chosen for the result.
  if (double a = 0, b = 0; c.strength == Strength::literal_real && out.size() == 2 &&
                           pool.is_real_constant(out[0], &a) && pool.is_real_constant(out[1], &b)) {
    if (op == Op::add) return literal(a + b, at);
    if (op == Op::sub) return literal(a - b, at);
    if (op == Op::mul) return literal(a * b, at);
    if (op == Op::div) return literal(a / b, at);
  }
  const Expr e = pool.apply(op, out);
  if (pool.type(e) == DType::boolean && row.rule != TypeRule::Choose) c.strength = Strength::strong;
  return {e, c.strength, at, {}};
}

}  // namespace quern::dsl
