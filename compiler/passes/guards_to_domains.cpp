// guards_to_domains: a guard inside a reduction whose other branch is the neutral element becomes its domain.
// Goes in: any program. Comes out: the same values; what is masked now stands where bounds of tiles are found.
#include <algorithm>

#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

/// `where` through conversions and signs: f32(where(c, a, b)) is where(c, f32(a), f32(b)).
Expr lifted(ExprPool& pool, Expr e) {
  const Node n = pool[e];
  if (n.op != Op::cast && n.op != Op::neg) return e;
  const Node inner = pool[lifted(pool, n.args[0])];
  if (inner.op != Op::where || (!pool.is_constant(inner.args[1]) && !pool.is_constant(inner.args[2]))) return e;
  auto again = [&](Expr a) -> Expr {
    if (n.op == Op::cast) return pool.cast(a, n.type, n.flags);
    double v = 0;
    if (pool.is_real_constant(a, &v)) return pool.real(-v, n.type);
    return pool.apply(Op::neg, {a});
  };
  return pool.where(inner.args[0], again(inner.args[1]), again(inner.args[2]));
}

bool is_zero(const ExprPool& pool, Expr e) {
  double v = 1;
  std::int64_t i = 1;
  return (pool.is_real_constant(e, &v) && v == 0) || (pool.is_integer_constant(e, &i) && i == 0);
}

}  // namespace

bool guards_to_domains(Program& program) {
  ExprPool& pool = program.pool;
  bool changed = false;
  auto rule = [&](Expr e) -> Expr {
    const Node node = pool[e];
    if (node.op != Op::reduce) return {};
    const auto reducer = static_cast<Reducer>(node.payload);
    if (reducer > Reducer::all) return {};
    Expr body = node.args[0], domain = node.args[1];
    const Expr neutral = identity_of(pool, reducer, node.type);
    for (bool more = true; more;) {
      more = false;
      const Expr up = lifted(pool, body);
      const Node n = pool[up];
      auto is_neutral = [&](Expr at) { return pool.cast(at, node.type) == neutral || (reducer == Reducer::sum && is_zero(pool, at)); };
      if (n.op == Op::where && is_neutral(n.args[2])) {
        domain = both(pool, domain, n.args[0]), body = n.args[1], more = true;
      } else if (n.op == Op::where && is_neutral(n.args[1])) {
        domain = both(pool, domain, negation(pool, n.args[0])), body = n.args[2], more = true;
      } else if (reducer == Reducer::any && n.op == Op::and_) {
        domain = both(pool, domain, n.args[0]), body = n.args[1], more = true;
      }
    }
    // A guard that repeats its domain says nothing.
    const std::vector<Expr> known = conjuncts(pool, domain);
    if (is_pointwise(pool, body)) body = pool.rewrite(body, [&](Expr at) -> Expr {
      const Node& n = pool[at];
      if (n.op != Op::where) return {};
      for (Expr part : conjuncts(pool, n.args[0]))
        if (std::find(known.begin(), known.end(), part) == known.end()) return {};
      return n.args[1];
    });
    if (body == node.args[0] && domain == node.args[1]) return {};
    changed = true;
    return pool.reduce(reducer, node.axes, body, domain, node.type);
  };
  for (Equation& equation : program.equations) equation.body = pool.rewrite(equation.body, rule);
  return changed;
}

}  // namespace quern::compiler
