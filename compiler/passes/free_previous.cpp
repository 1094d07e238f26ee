// Moving `prev` out of reductions (free_previous.h): sums and means of polynomials in it by their Taylor coefficients at 0, max and
// min through terms and through max and min themselves.
#include "compiler/passes/free_previous.h"

#include <algorithm>
#include <functional>
#include <unordered_set>

#include "compiler/passes/algebra.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

bool uses_previous(const ExprPool& pool, Expr e) {
  std::unordered_set<std::uint32_t> seen;
  std::function<bool(Expr)> visit = [&](Expr at) -> bool {
    if (!seen.insert(at.id).second) return false;
    const Node& n = pool[at];
    if (n.op == Op::previous) return true;
    if (n.op == Op::scan) return visit(n.args[2]);  // its body has a `prev` of its own
    return std::any_of(n.args.begin(), n.args.end(), visit);
  };
  return visit(e);
}

namespace {

bool is_zero(const ExprPool& pool, Expr e) {
  double v = 1;
  return pool.is_real_constant(e, &v) && v == 0;
}

/// e with prev = 0, where what it multiplies is gone, infinite or not.
Expr at_zero(ExprPool& pool, Expr e) {
  if (!uses_previous(pool, e)) return e;
  const Node n = pool[e];
  if (n.op == Op::previous) return zero(pool, n.type);
  std::vector<Expr> args;
  for (Expr a : n.args) args.push_back(at_zero(pool, a));
  switch (n.op) {
    case Op::mul: if (is_zero(pool, args[0]) || is_zero(pool, args[1])) return zero(pool, n.type); break;
    case Op::div: case Op::neg: if (is_zero(pool, args[0])) return zero(pool, n.type); break;
    case Op::add:
      if (is_zero(pool, args[0])) return args[1];
      if (is_zero(pool, args[1])) return args[0];
      break;
    case Op::sub: if (is_zero(pool, args[1])) return args[0]; break;
    default: break;
  }
  if (is_elementwise(n.op)) return pool.apply(n.op, args);
  if (n.op == Op::cast) return pool.cast(args[0], n.type, n.flags);
  Node copy = n;
  copy.args = std::move(args);
  return pool.intern(std::move(copy));
}

constexpr int kMostPowers = 4;

std::optional<Expr> out_of_sum(Program& program, const Node& n) {
  ExprPool& pool = program.pool;
  if (!is_float(n.type)) return std::nullopt;
  const Expr previous = pool.previous(n.type);
  Expr body = n.args[0], total, power;
  double factorial = 1;
  for (int degree = 0;; ++degree) {
    const Expr coefficient = at_zero(pool, body);
    if (uses_previous(pool, coefficient) || degree > kMostPowers) return std::nullopt;
    if (!is_zero(pool, coefficient)) {
      Expr term = pool.reduce(static_cast<Reducer>(n.payload), n.axes, coefficient, n.args[1], n.type);
      if (power) term = pool.mul(power, term);
      if (factorial != 1) term = pool.div(term, pool.real(factorial, n.type));
      total = total ? pool.add(total, term) : term;
    }
    const auto next = derivative(program, body, previous);
    if (!next) return std::nullopt;
    if (is_zero(pool, *next)) break;
    body = *next;
    power = power ? pool.mul(power, previous) : previous;
    factorial *= degree + 1;
  }
  return total ? total : zero(pool, n.type);
}

/// Terms leave as they are, and what is one value all along; what is subtracted or negated turns a maximum into a minimum.
std::optional<Expr> out_of_extreme(Program& program, const Node& n) {
  ExprPool& pool = program.pool;
  const bool maximum = static_cast<Reducer>(n.payload) == Reducer::max;
  const Op same = maximum ? Op::max : Op::min;
  const Expr body = n.args[0];
  if (!uses_previous(pool, body)) return pool.reduce(static_cast<Reducer>(n.payload), n.axes, body, n.args[1], n.type);
  if (!pool.depends_on_any(body, n.axes)) return body;
  const Node b = pool[body];
  auto rest_of = [&](Expr inside, bool turned) {
    Node inner = n;
    inner.args[0] = inside;
    if (turned) inner.payload = static_cast<std::int64_t>(maximum ? Reducer::min : Reducer::max);
    return out_of_extreme(program, inner);
  };
  if (b.op == Op::neg) {
    const auto rest = rest_of(b.args[0], true);
    return rest ? std::optional(pool.apply(Op::neg, {*rest})) : std::nullopt;
  }
  if (b.op != Op::add && b.op != Op::sub && b.op != same) return std::nullopt;
  for (std::size_t side = 0; side < 2; ++side) {
    const Expr leaves = b.args[1 - side];
    if (pool.depends_on_any(leaves, n.axes)) continue;
    const auto rest = rest_of(b.args[side], b.op == Op::sub && side == 1);
    if (!rest) continue;
    return side == 0 ? pool.apply(b.op, {*rest, leaves}) : pool.apply(b.op, {leaves, *rest});
  }
  return std::nullopt;
}

}  // namespace

std::optional<Expr> without_previous_inside(Program& program, Expr reduction) {
  ExprPool& pool = program.pool;
  const Node n = pool[reduction];
  if (n.op != Op::reduce || tree_size(pool, reduction) > kLargestTree || uses_previous(pool, n.args[1])) return std::nullopt;
  const auto reducer = static_cast<Reducer>(n.payload);
  const bool adds = reducer == Reducer::sum || reducer == Reducer::mean;
  if (!adds && reducer != Reducer::max && reducer != Reducer::min) return std::nullopt;
  const auto moved = adds ? out_of_sum(program, n) : out_of_extreme(program, n);
  if (!moved || !uses_previous(pool, *moved)) return moved;
  // Over nothing it is the neutral element, which prev outside, NaN perhaps, would not leave so.
  const Expr some = pool.is_true(n.args[1]) ? pool.less(pool.integer(0), points(program, n.axes))
                                            : pool.reduce(Reducer::any, n.axes, pool.boolean(true), n.args[1], DType::boolean);
  return pool.where(some, *moved, adds ? zero(pool, n.type) : identity_of(pool, reducer, n.type));
}

}  // namespace quern::compiler
