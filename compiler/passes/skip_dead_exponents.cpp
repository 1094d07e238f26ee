// skip_dead_exponents: points where an exponent is -inf by a condition on indices leave the domain of their sum.
// Goes in: the flat form. Comes out: the flat form, where sum[n](exp(where(c, s, -inf) - m) * v) runs over c only.
// A dead point adds exp(-inf - m): 0, or NaN when m is -inf or NaN (a row of nothing but -inf). That one value is added
// back wherever a dead point exists, so such a row is still what it is as written.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "compiler/passes/closed_forms.h"
#include "compiler/passes/empty_loops.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

struct Dead {
  Expr condition;  // live where it holds
  Expr live;       // the exponent there
  Expr rest;       // invariant terms beside the -inf of a dead point; none: nothing but -inf
};

struct Finder {
  Program& program;
  ExprPool& pool;
  const std::vector<IndexId>& axes;

  bool is_minus_infinity(Expr e) {
    double v = 0;
    return pool.is_real_constant(e, &v) && v == -std::numeric_limits<double>::infinity();
  }
  bool invariant(Expr e) { return !pool.depends_on_any(e, axes); }
  /// Built of indices, sizes and constants, without division.
  bool finite(Expr e) {
    bool fine = true;
    for_each_node(pool, e, [&](Expr at) {
      double v = 0;
      switch (pool[at].op) {
        case Op::constant: fine = fine && (!pool.is_real_constant(at, &v) || std::isfinite(v)); break;
        case Op::index: case Op::symbol: case Op::cast: case Op::add: case Op::sub: case Op::mul: case Op::neg: break;
        default: fine = false;
      }
    });
    return fine;
  }
  /// The parts of c that are about indices alone, and those that read data.
  void parted(Expr c, std::vector<Expr>& of_indices, std::vector<Expr>& of_data) {
    for (Expr part : conjuncts(pool, c)) {
      bool reads = false;
      for_each_node(pool, part, [&](Expr e) { reads |= pool[e].op == Op::read; });
      (reads ? of_data : of_indices).push_back(part);
    }
  }

  std::optional<Dead> find(Expr e) {
    if (invariant(e)) return std::nullopt;
    const Node n = pool[e];
    switch (n.op) {
      case Op::where: {
        const bool straight = is_minus_infinity(n.args[2]);
        if (!straight && !is_minus_infinity(n.args[1])) return std::nullopt;
        std::vector<Expr> of_indices, of_data;
        parted(straight ? n.args[0] : negation(pool, n.args[0]), of_indices, of_data);
        const Expr c = conjunction(pool, of_indices);
        if (invariant(c)) return std::nullopt;
        Expr live = n.args[straight ? 1 : 2];
        if (!of_data.empty()) live = pool.where(conjunction(pool, of_data), live, n.args[straight ? 2 : 1]);
        return Dead{c, live, {}};
      }
      case Op::add: case Op::sub:
        for (int side = 0; side < (n.op == Op::add ? 2 : 1); ++side) {
          auto d = find(n.args[side]);
          const Expr other = n.args[1 - side];
          if (!d || (!invariant(other) && !finite(other))) continue;
          d->live = side == 0 ? pool.apply(n.op, {d->live, other}) : pool.apply(n.op, {other, d->live});
          if (invariant(other)) {
            const Expr start = d->rest ? d->rest : pool.real(-std::numeric_limits<double>::infinity(), n.type);
            d->rest = pool.apply(n.op, {start, other});
          }
          return d;
        }
        return std::nullopt;
      case Op::mul: case Op::div:
        for (int side = 0; side < (n.op == Op::mul ? 2 : 1); ++side) {
          double v = 0;
          const Expr by = n.args[1 - side];
          if (!pool.is_real_constant(by, &v) || !(v > 0) || !std::isfinite(v)) continue;
          auto d = find(n.args[side]);
          if (!d) continue;
          d->live = side == 0 ? pool.apply(n.op, {d->live, by}) : pool.apply(n.op, {by, d->live});
          if (d->rest) d->rest = pool.apply(n.op, {d->rest, by});
          return d;
        }
        return std::nullopt;
      default: return std::nullopt;
    }
  }

  /// A factor exp(..) of a product, with the product rebuilt around its live form.
  std::optional<Dead> find_factor(Expr e, Op& exp) {
    const Node n = pool[e];
    switch (n.op) {
      case Op::exp: case Op::exp2: {
        auto d = find(n.args[0]);
        if (!d) return d;
        exp = n.op;
        d->live = pool.apply(n.op, {d->live});
        return d;
      }
      case Op::neg: {
        auto d = find_factor(n.args[0], exp);
        if (d) d->live = pool.apply(Op::neg, {d->live});
        return d;
      }
      case Op::cast: {
        if (!is_float(n.type)) return std::nullopt;
        auto d = find_factor(n.args[0], exp);
        if (d) d->live = pool.cast(d->live, n.type, n.flags);
        return d;
      }
      case Op::mul: case Op::div:
        for (int side = 0; side < (n.op == Op::mul ? 2 : 1); ++side) {
          // 0 / b is not 0 for every b; what multiplies a dead exponential may be skipped.
          double v = 0;
          if (n.op == Op::div && !(pool.is_real_constant(n.args[1], &v) && v != 0)) return std::nullopt;
          auto d = find_factor(n.args[side], exp);
          if (!d) continue;
          d->live = side == 0 ? pool.apply(n.op, {d->live, n.args[1]}) : pool.apply(n.op, {n.args[0], d->live});
          return d;
        }
        return std::nullopt;
      default: return std::nullopt;
    }
  }
};

}  // namespace

bool skip_dead_exponents(Program& program) {
  ExprPool& pool = program.pool;
  std::vector<Equation> out;
  bool changed = false;
  for (Equation& equation : program.equations) {
    const Node root = pool[equation.body];
    if (is_reduce(pool, equation.body, Reducer::sum) && is_float(root.type) && equation.op == AssignOp::set &&
        tree_size(pool, equation.body) <= kLargestTree) {
      Finder finder{program, pool, root.axes};
      Op exp = Op::exp;
      if (const auto dead = finder.find_factor(root.args[0], exp)) {
        auto reduction = [&](Reducer reducer, Expr body, Expr domain, DType type) {
          const Expr form = outside_loops(program, pool.reduce(reducer, root.axes, body, domain, type), equation.indices);
          Temp temp = add_temp(program, program.tensors[equation.targets[0]].name + "_" + std::string(name(reducer)), type,
                               free_in_order(pool, form, equation.indices));
          temp.equation.body = fresh_copy(program, form, temp.renaming);
          temp.equation.span = equation.span;
          out.push_back(std::move(temp.equation));
          return temp.read;
        };
        Expr value = reduction(Reducer::sum, dead->live, both(pool, root.args[1], dead->condition), root.type);
        if (dead->rest) {
          // A dead point exists where one part of the condition fails somewhere.
          Expr some = pool.boolean(false);
          for (Expr part : conjuncts(pool, dead->condition)) {
            const Expr domain = both(pool, root.args[1], negation(pool, part));
            Expr here = some_closed(program, root.axes, domain);
            if (!here) here = reduction(Reducer::any, pool.boolean(true), domain, DType::boolean);
            some = pool.apply(Op::or_, {some, here});
          }
          const Expr rest = pool.cast(pool.apply(exp, {dead->rest}), root.type);
          value = pool.add(value, pool.where(some, rest, zero(pool, root.type)));
        }
        equation.body = value;
        changed = true;
      }
    }
    out.push_back(std::move(equation));
  }
  program.equations = std::move(out);
  return changed;
}

}  // namespace quern::compiler
