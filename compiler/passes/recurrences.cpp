// Linear and associative steps, found by their structure.
#include "compiler/passes/recurrences.h"

#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

bool recurs(const ExprPool& pool, Expr e) {
  bool found = false;
  for_each_node(pool, e, [&](Expr at) { found |= pool[at].op == Op::previous; });
  return found;
}

/// e = factor * prev + term; none stands for 1 and 0.
struct Line {
  Expr factor, term;
};
std::optional<Line> line_of(ExprPool& pool, Expr e) {
  const Node n = pool[e];
  if (n.op == Op::previous) return Line{};
  if (n.args.size() != 2 && n.op != Op::neg && n.op != Op::where) return std::nullopt;
  auto side_of = [&]() -> int {  // the one operand with prev; -1: none, or both
    const bool left = recurs(pool, n.args[0]), right = recurs(pool, n.args[1]);
    return left == right ? -1 : left ? 0 : 1;
  };
  switch (n.op) {
    case Op::add: case Op::sub: {
      const int side = side_of();
      if (side < 0 || (n.op == Op::sub && side == 1)) return std::nullopt;
      auto l = line_of(pool, n.args[static_cast<std::size_t>(side)]);
      if (!l) return std::nullopt;
      Expr other = n.args[static_cast<std::size_t>(1 - side)];
      if (!l->term) l->term = n.op == Op::sub ? pool.apply(Op::neg, {other}) : other;
      else l->term = pool.apply(n.op, {l->term, other});
      return l;
    }
    case Op::mul: case Op::div: {
      const int side = side_of();
      if (side < 0 || (n.op == Op::div && (side == 1 || !is_float(n.type)))) return std::nullopt;
      auto l = line_of(pool, n.args[static_cast<std::size_t>(side)]);
      if (!l || l->term) return std::nullopt;  // its product with the factor would round where the sum does not
      const Expr other = n.args[static_cast<std::size_t>(1 - side)];
      if (n.op == Op::mul) l->factor = l->factor ? pool.mul(l->factor, other) : other;
      else l->factor = pool.div(l->factor ? l->factor : pool.real(1, n.type), other);
      return l;
    }
    default: return std::nullopt;
  }
}

}  // namespace

std::optional<Recurrence> recurrence_of(ExprPool& pool, Expr body) {
  Recurrence r;
  r.type = pool.type(body);
  if (size_of(r.type) < 4) return std::nullopt;
  const Node n = pool[body];
  if (n.op == Op::max || n.op == Op::min) {
    for (std::size_t side = 0; side < 2; ++side)
      if (pool[n.args[side]].op == Op::previous && !recurs(pool, n.args[1 - side])) {
        r.op = n.op;
        r.term = n.args[1 - side];
        return r;
      }
    return std::nullopt;
  }
  const auto l = line_of(pool, body);
  if (!l || (!l->factor && !l->term)) return std::nullopt;
  r.factor = l->factor;
  r.term = l->term;
  return r;
}

std::size_t step_bytes(const Recurrence& r) { return size_of(r.type) * ((r.factor ? 1u : 0u) + (r.term ? 1u : 0u)); }

}  // namespace quern::compiler
