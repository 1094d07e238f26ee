// hoist_invariants: what does not depend on the reduced axes leaves the reduction.
// Goes in: the flat form. Comes out: the flat form, with reductions over what really varies. Factors leave sums through
// products, quotients, signs and permitted roundings; finite terms and positive constant factors leave max and min. The
// care is in the empty domain, whose sum is 0: a factor that could be infinite or NaN there, or that the domain guards
// from being read, comes back only behind a test that some point exists.
#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "compiler/passes/closed_forms.h"
#include "compiler/passes/empty_loops.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/ranges.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

struct Product {
  Expr inner;                  // none: 1
  std::vector<Expr> by, over;  // factors and divisors outside
  bool negative = false;
  bool moved() const { return !by.empty() || !over.empty() || negative; }
};

/// Tensors of which some reader tells -0 from +0: divisors and what they are made of.
std::set<TensorId> seen_by_sign(const Program& program) {
  const ExprPool& pool = program.pool;
  std::set<TensorId> out;
  auto take = [&](Expr e) {
    for_each_node(pool, e, [&](Expr at) {
      if (pool[at].op == Op::read) out.insert(static_cast<TensorId>(pool[at].payload));
    });
  };
  for (auto it = program.equations.rbegin(); it != program.equations.rend(); ++it) {
    if (std::any_of(it->targets.begin(), it->targets.end(), [&](TensorId t) { return out.contains(t); })) take(it->body);
    for_each_node(pool, it->body, [&](Expr at) {
      const Node& n = pool[at];
      if (n.op == Op::div && is_float(n.type)) take(n.args[1]);
      if (n.op == Op::rsqrt || n.op == Op::atan2 || n.op == Op::pow)
        for (Expr a : n.args) take(a);
    });
  }
  return out;
}

struct Hoister {
  Program& program;
  ExprPool& pool;
  std::set<TensorId> signed_zeros;
  std::vector<Equation> out;

  explicit Hoister(Program& p) : program(p), pool(p.pool), signed_zeros(seen_by_sign(p)) {}

  static bool is_permitted(const ExprPool& pool, const Node& n) {
    return n.op == Op::cast && ((n.flags & kAllowed) || (pool[n.args[0]].op == Op::cast && (pool[n.args[0]].flags & kAllowed)));
  }

  /// e = inner * by / over. Under `inverse` e is a divisor.
  void split(Expr e, const std::vector<IndexId>& axes, bool inverse, Product& p, std::vector<std::pair<Expr, bool>>& inner) {
    if (!pool.depends_on_any(e, axes)) {
      double v = 0;
      if (pool.is_real_constant(e, &v) && v == 1) return;
      (inverse ? p.over : p.by).push_back(e);
      return;
    }
    const Node n = pool[e];
    if (n.op == Op::mul) {
      split(n.args[0], axes, inverse, p, inner);
      split(n.args[1], axes, inverse, p, inner);
    } else if (n.op == Op::div) {
      split(n.args[0], axes, inverse, p, inner);
      split(n.args[1], axes, !inverse, p, inner);
    } else if (n.op == Op::neg) {
      p.negative = !p.negative;
      split(n.args[0], axes, inverse, p, inner);
    } else if (is_permitted(pool, n) && !inverse) {
      // The rounding is relative, so what leaves need not be rounded with it.
      const Node cast = (n.flags & kAllowed) ? n : pool[n.args[0]];
      const Expr widened = (n.flags & kAllowed) ? Expr{} : e;
      Product below;
      std::vector<std::pair<Expr, bool>> kept;
      split(cast.args[0], axes, false, below, kept);
      if (!below.moved()) {
        inner.push_back({e, false});
        return;
      }
      p.by.insert(p.by.end(), below.by.begin(), below.by.end());
      p.over.insert(p.over.end(), below.over.begin(), below.over.end());
      p.negative ^= below.negative;
      Expr core = build(kept);
      if (!core) return;
      core = pool.cast(core, cast.type, cast.flags);
      if (widened) core = pool.cast(core, n.type, n.flags);
      inner.push_back({core, false});
    } else {
      inner.push_back({e, inverse});
    }
  }

  Expr build(const std::vector<std::pair<Expr, bool>>& parts) {
    Expr top, bottom;
    for (auto [e, inverse] : parts) {
      if (inverse) bottom = bottom ? pool.mul(bottom, e) : e;
      else top = top ? pool.mul(top, e) : e;
    }
    if (bottom) top = pool.div(top ? top : number(pool, 1, bottom), bottom);
    return top;
  }

  Product split(Expr e, const std::vector<IndexId>& axes) {
    Product p;
    std::vector<std::pair<Expr, bool>> inner;
    split(e, axes, false, p, inner);
    // A rebuilt product must not change where nothing left it.
    p.inner = p.moved() ? build(inner) : e;
    return p;
  }

  /// Built of constants, sizes and indices without division: finite at every point, and reads nothing.
  bool is_finite(Expr e) {
    bool fine = true;
    for_each_node(pool, e, [&](Expr at) {
      const Node& n = pool[at];
      double v = 0;
      switch (n.op) {
        case Op::constant: fine = fine && (!pool.is_real_constant(at, &v) || std::isfinite(v)); break;
        case Op::index: case Op::symbol: case Op::cast: case Op::add: case Op::sub: case Op::mul: case Op::neg: case Op::min:
        case Op::max: case Op::floordiv: case Op::mod: case Op::abs: break;
        case Op::sqrt: fine = fine && pool[n.args[0]].op == Op::cast && pool[pool[n.args[0]].args[0]].op == Op::symbol; break;
        case Op::div: fine = fine && pool.is_real_constant(n.args[1], &v) && v != 0; break;
        default: fine = false;
      }
    });
    return fine;
  }
  bool is_nonzero_constant(Expr e) {
    double v = 0;
    std::int64_t i = 0;
    return (pool.is_real_constant(e, &v) && v != 0 && std::isfinite(v)) || (pool.is_integer_constant(e, &i) && i != 0);
  }
  bool harmless(const Product& p) {
    return std::all_of(p.by.begin(), p.by.end(), [&](Expr e) { return !is_float(pool.type(e)) ? is_pointwise_of_sizes(e) : is_finite(e); }) &&
           std::all_of(p.over.begin(), p.over.end(), [&](Expr e) { return is_nonzero_constant(e); });
  }
  /// Integers are always finite; what they read must be safe to read.
  bool is_pointwise_of_sizes(Expr e) { return Ranges(program).reads_in_range(e); }

  /// A temp with the reduction of `body`, read at the point of the equation.
  Expr reduction(const Equation& of, Reducer reducer, const std::vector<IndexId>& axes, Expr body, Expr domain, DType type) {
    const Expr form = outside_loops(program, pool.reduce(reducer, axes, body, domain, type), of.indices);
    const std::string base = program.tensors[of.targets[0]].name;
    std::string label(1, '_');  // not "_" + ...: g++ 12 warns of its own string there
    label += name(reducer);
    Temp temp = add_temp(program, base.ends_with(label) ? base : base + label, type, free_in_order(pool, form, of.indices));
    temp.equation.body = fresh_copy(program, form, temp.renaming);
    temp.equation.span = of.span;
    out.push_back(std::move(temp.equation));
    return temp.read;
  }

  /// "Some point exists", as an expression over the equation's indices; none when that is certain.
  Expr some_point(const Equation& of, const std::vector<IndexId>& axes, Expr domain) {
    if (certainly_some(program, axes, domain)) return {};
    if (Expr closed = some_closed(program, axes, domain)) return closed;
    return reduction(of, Reducer::any, axes, pool.boolean(true), domain, DType::boolean);
  }

  /// value * by / over, with its sign.
  Expr apply(Expr value, const Product& p) {
    for (Expr e : p.by) value = pool.mul(value, e);
    Expr below;
    for (Expr e : p.over) below = below ? pool.mul(below, e) : e;
    if (below) value = pool.div(value, below);
    return p.negative ? pool.apply(Op::neg, {value}) : value;
  }

  /// The new body of an equation that is a sum, or none.
  Expr sum(const Equation& equation, const Node& root) {
    const Expr body = root.args[0], domain = root.args[1];
    const Product whole = split(body, root.axes);
    if (!whole.inner) {
      // Nothing varies: the number of points times the value.
      const Expr count = count_closed(program, root.axes, domain);
      if (!count && pool.is_constant(body)) return {};
      if (count) return guarded(equation, root, apply(pool.cast(count, root.type), whole), whole, domain);
    }
    if (!whole.moved()) return {};
    return finish(equation, root, whole, domain);
  }

  Expr guarded(const Equation& equation, const Node& root, Expr value, const Product& p, Expr domain) {
    // A sum that is zero is +0; times a negative factor it would not be.
    if (is_float(root.type) && signed_zeros.contains(equation.targets[0])) value = pool.add(value, zero(pool, root.type));
    if (harmless(p)) return value;
    const Expr some = some_point(equation, root.axes, domain);
    return some ? pool.where(some, value, zero(pool, root.type)) : value;
  }

  Expr finish(const Equation& equation, const Node& root, const Product& p, Expr domain) {
    const Expr inner = p.inner ? pool.cast(p.inner, root.type) : number(pool, 1, pool.intern(root));
    const Expr total = reduction(equation, Reducer::sum, root.axes, inner, domain, root.type);
    return guarded(equation, root, apply(total, p), p, domain);
  }

  /// max and min: positive constant factors and finite terms.
  Expr extreme(const Equation& equation, const Node& root) {
    const auto reducer = static_cast<Reducer>(root.payload);
    Expr at = root.args[0];
    std::vector<std::pair<Op, Expr>> outside;  // innermost last
    for (bool more = true; more;) {
      more = false;
      const Node n = pool[at];
      auto leaves = [&](Expr e) { return !pool.depends_on_any(e, root.axes); };
      auto positive = [&](Expr e) {
        double v = 0;
        return pool.is_real_constant(e, &v) && v > 0 && std::isfinite(v);
      };
      if (n.op == Op::mul || n.op == Op::add) {
        for (int side = 0; side < 2 && !more; ++side) {
          const Expr e = n.args[side];
          if (!leaves(e) || !(n.op == Op::mul ? positive(e) : is_finite(e) && is_float(n.type))) continue;
          outside.push_back({n.op, e});
          at = n.args[1 - side];
          more = true;
        }
      } else if ((n.op == Op::div && positive(n.args[1])) || (n.op == Op::sub && leaves(n.args[1]) && is_finite(n.args[1]) && is_float(n.type))) {
        outside.push_back({n.op, n.args[1]});
        at = n.args[0];
        more = true;
      }
    }
    if (outside.empty() || !pool.depends_on_any(at, root.axes)) return {};
    Expr value = reduction(equation, reducer, root.axes, at, root.args[1], root.type);
    for (auto it = outside.rbegin(); it != outside.rend(); ++it) value = pool.apply(it->first, {value, it->second});
    return value;
  }
};

}  // namespace

bool hoist_invariants(Program& program) {
  ExprPool& pool = program.pool;
  Hoister hoister(program);
  bool changed = false;
  for (Equation& equation : program.equations) {
    const Node root = pool[equation.body];
    if (root.op == Op::reduce && equation.op == AssignOp::set && tree_size(pool, equation.body) <= kLargestTree) {
      const auto reducer = static_cast<Reducer>(root.payload);
      Expr body;
      if (reducer == Reducer::sum) body = hoister.sum(equation, root);
      if ((reducer == Reducer::max || reducer == Reducer::min) && is_float(root.type)) body = hoister.extreme(equation, root);
      if (body) equation.body = body, changed = true;
    }
    hoister.out.push_back(std::move(equation));
  }
  program.equations = std::move(hoister.out);
  return changed;
}

}  // namespace quern::compiler
