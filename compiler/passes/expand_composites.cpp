// expand_composites: composite reducers and axis maps in terms of primitive ones, each with the value that the language
// gives it over nothing and at infinities.
// Goes in: a flat program. Comes out: a flat program with sum prod max min any all argmax argmin, scan, topk, sort and
// argsort only. Needs no guards of its own: dividing by max(count, 1) makes an empty mean 0, and inside its domain a
// softmax row is never empty.
#include <limits>

#include "compiler/passes/closed_forms.h"
#include "compiler/passes/empty_loops.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

struct Expander {
  Program& program;
  ExprPool& pool;
  std::vector<Equation> out;

  explicit Expander(Program& p) : program(p), pool(p.pool) {}

  /// A temp over `free` holding a reduction; returns its value at the point `free`.
  Expr reduced(const Equation& of, const char* label, Reducer reducer, const std::vector<IndexId>& axes, Expr body, Expr domain,
               DType type) {
    const Expr form = outside_loops(program, pool.reduce(reducer, axes, body, domain, type), of.indices);
    const std::vector<IndexId> free = free_in_order(pool, form, of.indices);
    Temp temp = add_temp(program, program.tensors[of.targets[0]].name + "_" + label, type, free);
    temp.equation.body = fresh_copy(program, form, temp.renaming);
    temp.equation.span = of.span;
    out.push_back(std::move(temp.equation));
    return temp.read;
  }

  /// How many points of the box lie in the domain, i64.
  Expr count(const Equation& of, const std::vector<IndexId>& axes, Expr domain) {
    if (Expr closed = count_closed(program, axes, domain)) return closed;
    return reduced(of, "count", Reducer::sum, axes, pool.integer(1), domain, DType::i64);
  }

  /// Same value for a trivial or empty domain: sum / max(count, 1).
  Expr mean(const Equation& of, const char* label, const std::vector<IndexId>& axes, Expr body, Expr domain, DType type) {
    const Expr total = reduced(of, label, Reducer::sum, axes, body, domain, type);
    const Expr n = pool.max(count(of, axes, domain), pool.integer(1));
    return pool.div(total, pool.cast(n, type));
  }

  /// The body of an equation whose root is `node`, over `axes` of the given reduction.
  Expr reducer(const Equation& of, const Node& node) {
    const std::vector<IndexId>& axes = node.axes;
    const Expr domain = node.args[1];
    const auto which = static_cast<Reducer>(node.payload);
    if (which == Reducer::count) {
      const Expr inside = pool.type(node.args[0]) == DType::boolean ? both(pool, domain, node.args[0]) : domain;
      return pool.cast(count(of, axes, inside), node.type);
    }
    const DType type = node.type;
    const Expr x = pool.cast(node.args[0], type);
    switch (which) {
      case Reducer::mean: return mean(of, "sum", axes, x, domain, type);
      case Reducer::var: case Reducer::std: {
        const Expr centre = mean(of, "sum", axes, x, domain, type);
        const Expr off = pool.sub(x, centre);
        const Expr var = mean(of, "squares", axes, pool.mul(off, off), domain, type);
        return which == Reducer::std ? pool.apply(Op::sqrt, {var}) : var;
      }
      case Reducer::norm: return pool.apply(Op::sqrt, {reduced(of, "squares", Reducer::sum, axes, pool.mul(x, x), domain, type)});
      case Reducer::logsumexp: {
        // m is -inf (nothing, or nothing but -inf) or +inf: the answer is m itself.
        const Expr m = reduced(of, "max", Reducer::max, axes, x, domain, type);
        const Expr sum = reduced(of, "sum", Reducer::sum, axes, pool.apply(Op::exp, {pool.sub(x, m)}), domain, type);
        return pool.where(pool.apply(Op::isinf, {m}), m, pool.add(m, pool.apply(Op::log, {sum})));
      }
      default: return {};
    }
  }

  /// The body of an equation whose root is the axis map `node`: the point `axis` is free in it.
  Expr map(const Equation& of, const Node& node) {
    const IndexId axis = node.axes[0];
    const DType type = is_small_float(node.type) ? DType::f32 : node.type;
    const Expr x = pool.cast(node.args[0], type), domain = node.args[1];
    const double inf = std::numeric_limits<double>::infinity();
    const Expr previous = pool.previous(type);
    auto scan = [&](Expr step, Expr init) {
      return pool.scan(axis, pool.where(domain, step, previous), init, type);
    };
    switch (static_cast<AxisMap>(node.payload)) {
      case AxisMap::softmax: case AxisMap::log_softmax: {
        const bool log = static_cast<AxisMap>(node.payload) == AxisMap::log_softmax;
        // The row's reductions run over a binder of their own; the point stays `axis`.
        const IndexId along = fresh_index(program, axis);
        const Renaming to{{axis, pool.index(along)}};
        const Expr row = fresh_copy(program, x, to), inside = fresh_copy(program, domain, to);
        const Expr m = reduced(of, "max", Reducer::max, {along}, row, inside, type);
        const Expr l = reduced(of, "sum", Reducer::sum, {along}, pool.apply(Op::exp, {pool.sub(row, m)}), inside, type);
        const Expr off = pool.sub(x, m);
        if (log) return pool.where(domain, pool.sub(off, pool.apply(Op::log, {l})), pool.real(-inf, type));
        return pool.where(domain, pool.div(pool.apply(Op::exp, {off}), l), zero(pool, type));
      }
      case AxisMap::cumsum: return scan(pool.add(previous, x), zero(pool, type));
      case AxisMap::cumprod: return scan(pool.mul(previous, x), identity_of(pool, Reducer::prod, type));
      case AxisMap::cummax: return scan(pool.max(previous, x), identity_of(pool, Reducer::max, type));
      case AxisMap::cummin: return scan(pool.min(previous, x), identity_of(pool, Reducer::min, type));
      default: return {};
    }
  }
};

}  // namespace

bool expand_composites(Program& program) {
  Expander expander(program);
  bool changed = false;
  for (Equation& equation : program.equations) {
    const Node root = program.pool[equation.body];
    Expr body;
    if (root.op == Op::reduce) body = expander.reducer(equation, root);
    if (root.op == Op::map) body = expander.map(equation, root);
    if (body) equation.body = body, changed = true;
    expander.out.push_back(std::move(equation));
  }
  program.equations = std::move(expander.out);
  return changed;
}

}  // namespace quern::compiler
