// Affine forms of index expressions and interval arithmetic on them.
#include "compiler/passes/affine.h"

#include <algorithm>

#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {
Expr negated(ExprPool& pool, Expr e);
}

std::optional<Affine> affine(ExprPool& pool, Expr e, const std::vector<IndexId>& over) {
  if (!pool.depends_on_any(e, over)) return Affine{{}, pool.cast(e, DType::i64)};
  const Node n = pool[e];
  auto combine = [&](int sign) -> std::optional<Affine> {
    auto a = affine(pool, n.args[0], over);
    auto b = affine(pool, n.args[1], over);
    if (!a || !b) return std::nullopt;
    for (auto [i, c] : b->terms)
      if ((a->terms[i] += sign * c) == 0) a->terms.erase(i);
    a->rest = sign > 0 ? pool.add(a->rest, b->rest) : pool.sub(a->rest, b->rest);
    return a;
  };
  switch (n.op) {
    case Op::index: return Affine{{{static_cast<IndexId>(n.payload), 1}}, pool.integer(0)};
    case Op::add: return combine(1);
    case Op::sub: return combine(-1);
    case Op::neg: {
      auto a = affine(pool, n.args[0], over);
      if (!a) return std::nullopt;
      for (auto& [i, c] : a->terms) c = -c;
      a->rest = negated(pool, a->rest);
      return a;
    }
    case Op::mul: {
      for (int side = 0; side < 2; ++side) {
        std::int64_t k = 0;
        if (!pool.is_integer_constant(n.args[side], &k)) continue;
        if (k > (1 << 20) || k < -(1 << 20)) return std::nullopt;
        auto a = affine(pool, n.args[1 - side], over);
        if (!a) return std::nullopt;
        for (auto& [i, c] : a->terms) c *= k;
        std::erase_if(a->terms, [](const auto& t) { return t.second == 0; });
        a->rest = pool.mul(a->rest, pool.integer(k));
        return a;
      }
      return std::nullopt;
    }
    case Op::cast:
      // Widening keeps the value; indices are i64 already.
      if (n.type == DType::i64 && is_integer(pool.type(n.args[0]))) return affine(pool, n.args[0], over);
      return std::nullopt;
    default: return std::nullopt;
  }
}

namespace {

std::vector<IndexId> names(const Box& box) {
  std::vector<IndexId> out;
  for (const auto& [i, span] : box) out.push_back(i);
  return out;
}

/// Affine forms f such that the comparison holds exactly where every f <= 0.
std::vector<Affine> as_at_most_zero(ExprPool& pool, Expr comparison, const std::vector<IndexId>& over) {
  const Node n = pool[comparison];
  switch (n.op) {
    case Op::lt: case Op::le: case Op::gt: case Op::ge: case Op::eq: break;
    default: return {};
  }
  if (!is_integer(pool.type(n.args[0]))) return {};
  auto difference = [&](Expr a, Expr b, std::int64_t plus) -> std::vector<Affine> {
    auto fa = affine(pool, a, over);
    auto fb = affine(pool, b, over);
    if (!fa || !fb) return {};
    for (auto [i, c] : fb->terms)
      if ((fa->terms[i] -= c) == 0) fa->terms.erase(i);
    fa->rest = pool.add(pool.sub(fa->rest, fb->rest), pool.integer(plus));
    return {*fa};
  };
  switch (n.op) {
    case Op::lt: return difference(n.args[0], n.args[1], 1);
    case Op::le: return difference(n.args[0], n.args[1], 0);
    case Op::gt: return difference(n.args[1], n.args[0], 1);
    case Op::ge: return difference(n.args[1], n.args[0], 0);
    default: {
      auto a = difference(n.args[0], n.args[1], 0);
      auto b = difference(n.args[1], n.args[0], 0);
      if (a.empty() || b.empty()) return {};
      return {a[0], b[0]};
    }
  }
}

Expr negated(ExprPool& pool, Expr e) {
  const Node n = pool[e];
  if (n.op == Op::sub) return pool.is_integer_constant(n.args[0]) && n.args[0] == pool.integer(0) ? n.args[1] : pool.sub(n.args[1], n.args[0]);
  if (n.op == Op::add) return pool.sub(negated(pool, n.args[0]), n.args[1]);
  return pool.sub(pool.integer(0), e);
}

/// Largest (or smallest) value of the terms but `skip` over the box, plus the rest.
Expr extreme(ExprPool& pool, const Affine& f, const Box& box, bool largest, std::optional<IndexId> skip) {
  Expr sum = f.rest;
  for (auto [i, c] : f.terms) {
    if (skip && *skip == i) continue;
    const Interval& s = box.at(i);
    const Expr at = (c > 0) == largest ? s.last : s.first;
    if (c == 1) sum = pool.add(sum, at);
    else if (c == -1) sum = pool.sub(sum, at);
    else sum = pool.add(sum, pool.mul(at, pool.integer(c)));
  }
  return sum;
}

}  // namespace

std::optional<Expr> holds_everywhere(ExprPool& pool, Expr condition, const Box& box) {
  const auto over = names(box);
  Expr all = pool.boolean(true);
  for (Expr c : conjuncts(pool, condition)) {
    if (!pool.depends_on_any(c, over)) {
      all = pool.both(all, c);
      continue;
    }
    const auto forms = as_at_most_zero(pool, c, over);
    if (forms.empty()) return std::nullopt;
    for (const Affine& f : forms)
      all = pool.both(all, pool.apply(Op::le, {extreme(pool, f, box, true, std::nullopt), pool.integer(0)}));
  }
  return all;
}

Bounds bounds_of(ExprPool& pool, Expr condition, IndexId index, const Box& others) {
  Bounds out;
  auto over = names(others);
  over.push_back(index);
  for (Expr c : conjuncts(pool, condition)) {
    if (!pool.depends_on(c, index)) continue;
    for (const Affine& f : as_at_most_zero(pool, c, over)) {
      auto it = f.terms.find(index);
      if (it == f.terms.end()) continue;
      const std::int64_t k = it->second;
      // k*index <= -others: some choice of the others must allow it.
      const Expr least = extreme(pool, f, others, false, index);
      if (k > 0) {
        const Expr top = negated(pool, least);
        out.at_most.push_back(k == 1 ? top : pool.apply(Op::floordiv, {top, pool.integer(k)}));
      } else {
        // index >= least / |k|, rounded up.
        out.at_least.push_back(k == -1 ? least
                                       : pool.sub(pool.integer(0), pool.apply(Op::floordiv, {pool.sub(pool.integer(0), least),
                                                                                             pool.integer(-k)})));
      }
    }
  }
  return out;
}

}  // namespace quern::compiler
