// Rules of simplify for integers, indices, comparisons and conditions (simplify.h). Sizes and indices never overflow i64;
// everything else wraps, and rules that would notice leave it alone.
#include <algorithm>

#include "compiler/passes/simplify.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

/// i - c + c: the polynomial written out, where that is shorter.
Expr normal_form(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node& n = pool[e];
  if (n.type != DType::i64 || (n.op != Op::add && n.op != Op::sub && n.op != Op::mul && n.op != Op::neg)) return {};
  const Expr out = expression(pool, polynomial(pool, e));
  return node_count(pool, out) < node_count(pool, e) ? out : Expr{};
}

bool is_comparison(Op op) { return op == Op::eq || op == Op::ne || op == Op::lt || op == Op::le || op == Op::gt || op == Op::ge; }

/// n < N with n in 0:N.
Expr decided_comparison(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node& n = pool[e];
  if (n.type != DType::boolean || n.op == Op::constant) return {};
  if (std::find(s.facts.begin(), s.facts.end(), e) != s.facts.end()) return pool.boolean(true);
  const Expr opposite = negation(pool, e);
  if (std::find(s.facts.begin(), s.facts.end(), opposite) != s.facts.end()) return pool.boolean(false);
  if (!is_comparison(n.op) || pool.type(n.args[0]) != DType::i64) return {};
  if (s.ranges.holds(e, s.facts)) return pool.boolean(true);
  if (s.ranges.fails(e, s.facts)) return pool.boolean(false);
  return {};
}

/// n + c < m + c: what stands on both sides goes.
Expr cancelled_comparison(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if (!is_comparison(n.op) || pool.type(n.args[0]) != DType::i64) return {};
  const Polynomial d = polynomial(pool, n.args[0]) - polynomial(pool, n.args[1]);
  Polynomial left, right;
  for (const auto& [m, k] : d.terms) (k > 0 ? left : right).terms.emplace(m, k > 0 ? k : -k);
  const Expr a = expression(pool, left), b = expression(pool, right);
  const Expr out = pool.apply(n.op, {a, b});
  return node_count(pool, out) < node_count(pool, e) ? out : Expr{};
}

/// not (a < b), of integers; not of what is not.
Expr turned_comparison(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node& n = pool[e];
  if (n.op != Op::not_) return {};
  const Expr out = negation(pool, n.args[0]);
  return out == e ? Expr{} : out;
}

/// (q * c + r) div c = q + r div c, and mod; both 0 <= r < c.
Expr divided_out(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if ((n.op != Op::floordiv && n.op != Op::mod) || n.type != DType::i64) return {};
  const Polynomial by = polynomial(pool, n.args[1]);
  Polynomial one;
  one.terms[std::vector<Expr>{}] = 1;
  // The divisor is at least 1 wherever this is evaluated: a size of a range with a point in it.
  std::vector<Expr> facts(s.facts.begin(), s.facts.end());
  for (IndexId i : pool.free_indices(n.args[0]))
    facts.push_back(pool.less(s.program.indices[i].begin, s.program.indices[i].end));
  if (by.terms.size() != 1 || !s.ranges.nonnegative(by - one, facts)) return {};
  const auto& [divisor, scale] = *by.terms.begin();
  const Polynomial a = polynomial(pool, n.args[0]);
  Polynomial quotient, rest;
  for (const auto& [m, k] : a.terms) {
    std::vector<Expr> left = m;
    bool divides = k % scale == 0;
    for (Expr atom : divisor) {
      auto it = std::find(left.begin(), left.end(), atom);
      if (it == left.end()) { divides = false; break; }
      left.erase(it);
    }
    if (divides) quotient.terms.emplace(left, k / scale);
    else rest.terms.emplace(m, k);
  }
  const bool small = s.ranges.nonnegative(rest, facts) && s.ranges.nonnegative(by - one - rest, facts);
  if (small) return expression(pool, n.op == Op::floordiv ? quotient : rest);
  if (quotient.terms.empty()) return {};
  const Expr r = expression(pool, rest);
  if (n.op == Op::mod) return pool.apply(Op::mod, {r, n.args[1]});
  return pool.add(expression(pool, quotient), pool.apply(Op::floordiv, {r, n.args[1]}));
}

/// min(n, N) with n in 0:N.
Expr decided_extreme(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if ((n.op != Op::min && n.op != Op::max) || n.type != DType::i64) return {};
  const Polynomial a = polynomial(pool, n.args[0]), b = polynomial(pool, n.args[1]);
  if (s.ranges.nonnegative(b - a, s.facts)) return n.args[n.op == Op::min ? 0 : 1];
  if (s.ranges.nonnegative(a - b, s.facts)) return n.args[n.op == Op::min ? 1 : 0];
  return {};
}

Expr flipped_where(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if (n.op != Op::where) return {};
  const Node c = pool[n.args[0]];
  if (c.op == Op::not_) return pool.where(c.args[0], n.args[2], n.args[1]);
  std::int64_t a = 0, b = 0;
  if (n.type == DType::boolean && pool.is_integer_constant(n.args[1], &a) && pool.is_integer_constant(n.args[2], &b) && a != b)
    return a ? n.args[0] : pool.apply(Op::not_, {n.args[0]});
  return {};
}

/// where(c, where(d, a, b), b) = where(c and d, a, b): d is then asked only where c holds, as before.
Expr joined_where(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  const Node n = pool[e];
  if (n.op != Op::where) return {};
  const Node inner = pool[n.args[1]];
  if (inner.op != Op::where || inner.args[2] != n.args[2]) return {};
  return pool.where(pool.both(n.args[0], inner.args[0]), inner.args[1], n.args[2]);
}

/// A part that an earlier part repeats.
Expr shorter_conjunction(const RuleScope& s, Expr e) {
  ExprPool& pool = s.program.pool;
  if (pool[e].op != Op::and_) return {};
  std::size_t parts = 0;
  auto count = [&](auto&& self, Expr at) -> void {
    if (pool[at].op == Op::and_) self(self, pool[at].args[0]), self(self, pool[at].args[1]);
    else ++parts;
  };
  count(count, e);
  const std::vector<Expr> distinct = conjuncts(pool, e);
  if (distinct.size() == parts) return {};
  return conjunction(pool, distinct);
}

constexpr SimplifyRule kRules[] = {
    {"normal_form", normal_form},
    {"decided_comparison", decided_comparison},
    {"cancelled_comparison", cancelled_comparison},
    {"turned_comparison", turned_comparison},
    {"divided_out", divided_out},
    {"decided_extreme", decided_extreme},
    {"flipped_where", flipped_where},
    {"joined_where", joined_where},
    {"shorter_conjunction", shorter_conjunction},
};

}  // namespace

std::span<const SimplifyRule> index_rules() { return kRules; }

}  // namespace quern::compiler
