// distribute_sums: a sum of a product with a sum of normalised weights becomes one sum per weight.
// Goes in: the flat form. Comes out: the flat form, where sum[n]((a / l - b / k) * v) is sum[n](a / l * v) minus
// sum[n](b / k * v): only then can each divisor leave its sum and each sum stream. Done for weights with invariant
// divisors of their own and nowhere else, because it costs a second contraction. Where v is infinite, the difference of
// the two sums is NaN although the weight written has one sign; @precise leaves the sum whole.
#include <algorithm>

#include "compiler/passes/empty_loops.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

constexpr std::size_t kMostTerms = 4;

bool is_permitted(const ExprPool& pool, const Node& n) {
  return n.op == Op::cast && ((n.flags & kAllowed) || (pool[n.args[0]].op == Op::cast && (pool[n.args[0]].flags & kAllowed)));
}

struct Distributor {
  Program& program;
  ExprPool& pool;

  /// A factor of e is divided by something that varies, and not along the axes.
  bool has_invariant_divisor(Expr e, const std::vector<IndexId>& axes) {
    const Node n = pool[e];
    if (n.op == Op::div && !pool.depends_on_any(n.args[1], axes) && !pool.is_constant(n.args[1]) && !pool.free_indices(n.args[1]).empty()) return true;
    if (n.op == Op::mul) return has_invariant_divisor(n.args[0], axes) || has_invariant_divisor(n.args[1], axes);
    if (n.op == Op::div || n.op == Op::neg || is_permitted(pool, n)) return has_invariant_divisor(n.args[0], axes);
    return false;
  }

  /// Terms of a product of sums, when each leaves with a divisor of its own: (a / l - b / k) * v.
  bool terms_of(Expr e, const std::vector<IndexId>& axes, int sign, std::vector<std::pair<Expr, int>>& terms) {
    const Node n = pool[e];
    if (n.op == Op::add || n.op == Op::sub) {
      // Only where each term has a divisor of its own: (x - mean) * w / l must stay a difference.
      std::vector<std::pair<Expr, int>> own;
      const bool divided = terms_of(n.args[0], axes, sign, own) && terms_of(n.args[1], axes, n.op == Op::sub ? -sign : sign, own) &&
                           std::all_of(own.begin(), own.end(), [&](const auto& t) { return has_invariant_divisor(t.first, axes); });
      if (divided) terms.insert(terms.end(), own.begin(), own.end());
      else terms.push_back({e, sign});
      return true;
    }
    if (n.op == Op::neg) return terms_of(n.args[0], axes, -sign, terms);
    if (is_permitted(pool, n)) {
      std::vector<std::pair<Expr, int>> below;
      const Node cast = (n.flags & kAllowed) ? n : pool[n.args[0]];
      if (!terms_of(cast.args[0], axes, sign, below) || below.size() < 2) {
        terms.push_back({e, sign});
        return true;
      }
      for (auto [t, s] : below) {
        Expr back = pool.cast(t, cast.type, cast.flags);
        if (!(n.flags & kAllowed)) back = pool.cast(back, n.type, n.flags);
        terms.push_back({back, s});
      }
      return true;
    }
    if (n.op == Op::mul) {
      for (int side = 0; side < 2; ++side) {
        std::vector<std::pair<Expr, int>> below;
        if (!terms_of(n.args[side], axes, sign, below) || below.size() < 2) continue;
        for (auto [t, s] : below) terms.push_back({pool.mul(t, n.args[1 - side]), s});
        return terms.size() <= 4;
      }
    }
    terms.push_back({e, sign});
    return true;
  }

};

}  // namespace

bool distribute_sums(Program& program) {
  if (program.annotations.precise) return false;
  ExprPool& pool = program.pool;
  Distributor distributor{program, pool};
  std::vector<Equation> out;
  bool changed = false;
  for (Equation& equation : program.equations) {
    const Node root = pool[equation.body];
    if (is_reduce(pool, equation.body, Reducer::sum) && is_float(root.type) && equation.op == AssignOp::set &&
        tree_size(pool, equation.body) <= kLargestTree) {
      std::vector<std::pair<Expr, int>> terms;
      bool each = distributor.terms_of(root.args[0], root.axes, 1, terms) && terms.size() >= 2 && terms.size() <= kMostTerms;
      for (std::size_t k = 0; k < terms.size() && each; ++k) each = distributor.has_invariant_divisor(terms[k].first, root.axes);
      if (each) {
        Expr total;
        for (auto [term, sign] : terms) {
          const Expr form = outside_loops(program, pool.reduce(Reducer::sum, root.axes, term, root.args[1], root.type), equation.indices);
          Temp temp = add_temp(program, program.tensors[equation.targets[0]].name + "_term", root.type,
                               free_in_order(pool, form, equation.indices));
          temp.equation.body = fresh_copy(program, form, temp.renaming);
          temp.equation.span = equation.span;
          out.push_back(std::move(temp.equation));
          if (!total) total = sign > 0 ? temp.read : pool.apply(Op::neg, {temp.read});
          else total = sign > 0 ? pool.add(total, temp.read) : pool.sub(total, temp.read);
        }
        equation.body = total;
        changed = true;
      }
    }
    out.push_back(std::move(equation));
  }
  program.equations = std::move(out);
  return changed;
}

}  // namespace quern::compiler
