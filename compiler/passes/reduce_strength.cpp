// Strength reduction of exponentials and divisions inside one group.
// A value that was itself computed carries a relative error of at least one rounding, so one more does not leave its
// bound (a sum of n terms: n roundings); a value read from memory is exact, and then the operator stays as written.
#include "compiler/passes/reduce_strength.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <unordered_map>

namespace quern::compiler {

using namespace ir;

namespace {

struct Strength {
  Program& program;
  ExprPool& pool;
  Group& group;
  std::unordered_map<TensorId, bool> known;

  bool computed(Expr e) {
    const Node n = pool[e];
    switch (n.op) {
      case Op::add: case Op::sub: case Op::mul: case Op::div: case Op::fma: return is_float(n.type) && !pool.free_indices(e).empty();
      case Op::exp: case Op::exp2: case Op::log: case Op::tanh: case Op::erf: case Op::sigmoid: case Op::sqrt: return true;
      case Op::neg: case Op::abs: return computed(n.args[0]);
      case Op::where: return computed(n.args[1]) && (computed(n.args[2]) || pool.is_constant(n.args[2]));
      case Op::cast: return is_float(n.type) && is_float(pool.type(n.args[0])) && computed(n.args[0]);
      case Op::read: {
        const auto t = static_cast<TensorId>(n.payload);
        if (auto it = known.find(t); it != known.end()) return it->second;
        known[t] = false;
        for (const Stage& s : group.stages)
          if (s.targets[0] == t)
            return known[t] = s.form == Form::reduce ? s.reducer == Reducer::sum || ((s.reducer == Reducer::max || s.reducer == Reducer::min) && computed(s.body))
                                                     : s.form == Form::pointwise && computed(s.body);
        return false;
      }
      default: return false;
    }
  }

  /// e = rest * factor with a factor that is the same at every point.
  struct Factored { Expr rest, factor; };
  std::optional<Factored> factored(Expr e) {
    const Node n = pool[e];
    if (n.op == Op::mul)
      for (int side = 0; side < 2; ++side)
        if (pool.free_indices(n.args[1 - side]).empty()) return Factored{n.args[side], n.args[1 - side]};
    if (n.op == Op::div && pool.free_indices(n.args[1]).empty()) return Factored{n.args[0], pool.div(pool.real(1, n.type), n.args[1])};
    return std::nullopt;
  }

  Expr rewrite(const Stage& stage, Expr root) {
    return pool.rewrite(root, [&](Expr e) -> Expr {
      const Node n = pool[e];
      if (n.op == Op::exp && n.type == DType::f32) {
        const Node d = pool[n.args[0]];
        if (d.op != Op::sub || !computed(d.args[0])) return {};
        // The difference comes first: it is exactly 0 where both are equal, however large they are.
        const Expr log2e = pool.real(std::numbers::log2e, n.type);
        const auto x = factored(d.args[0]), y = factored(d.args[1]);
        if (!x || !y || x->factor != y->factor) return pool.apply(Op::exp2, {pool.mul(n.args[0], log2e)});
        double k = 0;
        const Expr by = pool.is_real_constant(x->factor, &k) ? pool.real(k * std::numbers::log2e, n.type) : pool.mul(x->factor, log2e);
        return pool.apply(Op::exp2, {pool.mul(pool.sub(x->rest, y->rest), by)});
      }
      if (n.op == Op::div && is_float(n.type)) {
        const Expr a = n.args[0], b = n.args[1];
        if (pool.is_constant(b) || (!computed(a) && !computed(b))) return {};
        // Whole numbers divide: a mean of equal values is exactly that value.
        if (pool[b].op == Op::cast && !is_float(pool.type(pool[b].args[0]))) return {};
        auto stays = [&](IndexId i) { return pool.depends_on(a, i) && !pool.depends_on(b, i); };
        if (!std::any_of(stage.free.begin(), stage.free.end(), stays) && !std::any_of(stage.axes.begin(), stage.axes.end(), stays)) return {};
        // A divisor near the ends of the range is scaled first: its reciprocal must not overflow or lose digits.
        const double lift = n.type == DType::f32 ? 0x1p64 : 0x1p512;
        const double tiny = n.type == DType::f32 ? 0x1p-100 : 0x1p-1000, huge = 1 / tiny;
        const Expr one = pool.real(1, n.type), size = pool.apply(Op::abs, {b});
        const Expr scale = pool.where(pool.less(size, pool.real(tiny, n.type)), pool.real(lift, n.type),
                                      pool.where(pool.less(pool.real(huge, n.type), size), pool.real(1 / lift, n.type), one));
        return pool.mul(pool.mul(a, scale), pool.div(one, pool.mul(b, scale)));
      }
      return {};
    });
  }
};

}  // namespace

void reduce_strength(Program& program, Group& group) {
  if (program.annotations.precise) return;
  Strength strength{program, program.pool, group, {}};
  for (Stage& s : group.stages) {
    if (s.form == Form::scan || s.form == Form::sort || s.form == Form::topk) continue;
    s.body = strength.rewrite(s, s.body);
  }
}

Expr reduce_strength(Program& program, Group& group, const Stage& stage, Expr e) {
  if (!e || program.annotations.precise) return e;
  return Strength{program, program.pool, group, {}}.rewrite(stage, e);
}

}  // namespace quern::compiler
