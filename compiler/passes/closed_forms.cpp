// Emptiness and size of domains (closed_forms.h): each conjunct that is linear in an axis with coefficient 1 or -1 is a
// bound of that axis, so one axis keeps an interval [low, high).
#include "compiler/passes/closed_forms.h"

#include <algorithm>
#include <map>

#include "compiler/passes/ranges.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

struct Interval {
  std::vector<Expr> lows, highs;  // every low <= axis < every high
};

/// Intervals per axis and what is left that no axis occurs in; nothing when a conjunct is no bound.
bool intervals(Program& program, const std::vector<IndexId>& axes, Expr domain, std::map<IndexId, Interval>& out, std::vector<Expr>& rest) {
  ExprPool& pool = program.pool;
  for (IndexId a : axes) out[a] = {{program.indices[a].begin}, {program.indices[a].end}};
  for (Expr part : conjuncts(pool, domain)) {
    if (!pool.depends_on_any(part, axes)) {
      rest.push_back(part);
      continue;
    }
    const Node n = pool[part];
    if (n.args.size() != 2 || pool.type(n.args[0]) != DType::i64) return false;
    if (n.op != Op::lt && n.op != Op::le && n.op != Op::gt && n.op != Op::ge && n.op != Op::eq) return false;
    Polynomial d = polynomial(pool, n.args[1]) - polynomial(pool, n.args[0]);  // b - a
    if (n.op == Op::gt || n.op == Op::ge) d = Polynomial{} - d;
    const bool strict = n.op == Op::lt || n.op == Op::gt;
    IndexId axis = 0;
    std::int64_t coefficient = 0;
    Polynomial other;
    for (const auto& [m, k] : d.terms) {
      const auto touched = std::count_if(m.begin(), m.end(), [&](Expr atom) { return pool.depends_on_any(atom, axes); });
      if (!touched) {
        other.terms.emplace(m, k);
        continue;
      }
      if (coefficient || m.size() != 1 || pool[m[0]].op != Op::index || (k != 1 && k != -1)) return false;
      axis = static_cast<IndexId>(pool[m[0]].payload), coefficient = k;
    }
    if (!coefficient) return false;
    Interval& i = out[axis];
    // d = other + k * axis; d >= 0, or > 0 when strict.
    const Expr bound = expression(pool, coefficient > 0 ? Polynomial{} - other : other);
    const Expr one = pool.integer(1);
    if (n.op == Op::eq) {
      i.lows.push_back(bound);
      i.highs.push_back(pool.add(bound, one));
    } else if (coefficient > 0) {
      i.lows.push_back(strict ? pool.add(bound, one) : bound);
    } else {
      i.highs.push_back(strict ? bound : pool.add(bound, one));
    }
  }
  return true;
}

}  // namespace

bool certainly_some(const Program& program, const std::vector<IndexId>& axes, Expr domain) {
  const ExprPool& pool = program.pool;
  const Ranges ranges(program);
  for (IndexId a : axes) {
    const Index& index = program.indices[a];
    Polynomial one;
    one.terms[std::vector<Expr>{}] = 1;
    if (!ranges.nonnegative(polynomial(pool, index.end) - polynomial(pool, index.begin) - one)) return false;
  }
  return pool.is_true(domain);
}

Expr some_closed(Program& program, const std::vector<IndexId>& axes, Expr domain) {
  ExprPool& pool = program.pool;
  std::map<IndexId, Interval> found;
  std::vector<Expr> rest;
  if (!intervals(program, axes, domain, found, rest)) return {};
  Expr out = conjunction(pool, rest);
  const Ranges ranges(program);
  for (const auto& [axis, i] : found) {
    for (Expr low : i.lows)
      for (Expr high : i.highs) {
        const Expr some = pool.less(low, high);
        if (!ranges.holds(some, rest)) out = both(pool, out, some);
      }
  }
  return out;
}

Expr count_closed(Program& program, const std::vector<IndexId>& axes, Expr domain) {
  ExprPool& pool = program.pool;
  std::map<IndexId, Interval> found;
  std::vector<Expr> rest;
  if (!intervals(program, axes, domain, found, rest)) return {};
  Expr out = pool.integer(1);
  for (const auto& [axis, i] : found) {
    const bool whole = i.lows.size() == 1 && i.highs.size() == 1;
    Expr low = i.lows[0], high = i.highs[0];
    for (Expr e : i.lows) low = pool.max(low, e);
    for (Expr e : i.highs) high = pool.min(high, e);
    const Expr length = pool.sub(high, low);
    out = pool.mul(out, whole ? length : pool.max(length, pool.integer(0)));
  }
  return rest.empty() ? out : pool.where(conjunction(pool, rest), out, pool.integer(0));
}

}  // namespace quern::compiler
