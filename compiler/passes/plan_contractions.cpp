// plan_contractions: a sum of a product over several axes becomes a sequence of pairwise contractions.
// Goes in: the flat form. Comes out: the flat form, where every axis is summed as soon as no other factor needs it. The
// order is the cheapest over all orders (dynamic programming over subsets of factors, greedy beyond eight); sizes that
// are not known count as 1024. Sums whose axes all factors share stay as they are.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "compiler/passes/closed_forms.h"
#include "compiler/passes/empty_loops.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/ranges.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

constexpr std::size_t kExhaustive = 8;  // factors
constexpr double kNominal = 1024;       // a size that is not known
constexpr double kWorthwhile = 0.9;     // share of the cost of the plain sum

using IndexSet = std::set<IndexId>;
using Mask = std::uint32_t;

struct Step {
  double cost = 0;
  Mask left = 0, right = 0;  // 0: a single factor
};

struct Planner {
  Program& program;
  ExprPool& pool;
  std::vector<Expr> factors;
  std::vector<IndexSet> uses;
  IndexSet axes;
  std::map<Mask, Step> steps;

  explicit Planner(Program& p) : program(p), pool(p.pool) {}

  double extent_of(IndexId i) {
    const Index& index = program.indices[i];
    const Polynomial p = polynomial(pool, index.end) - polynomial(pool, index.begin);
    double total = 0;
    for (const auto& [m, k] : p.terms) total += static_cast<double>(k) * std::pow(kNominal, static_cast<double>(m.size()));
    return std::max(total, 1.0);
  }
  double volume(const IndexSet& indices) {
    double v = 1;
    for (IndexId i : indices) v *= extent_of(i);
    return v;
  }
  IndexSet touched(Mask mask) const {
    IndexSet out;
    for (std::size_t f = 0; f < factors.size(); ++f)
      if (mask >> f & 1) out.insert(uses[f].begin(), uses[f].end());
    return out;
  }
  /// Indices of the product of `mask` once the axes that nobody else uses are summed.
  IndexSet kept(Mask mask) const {
    const IndexSet inside = touched(mask), outside = touched(((Mask{1} << factors.size()) - 1) & ~mask);
    IndexSet out;
    for (IndexId i : inside)
      if (!axes.contains(i) || outside.contains(i)) out.insert(i);
    return out;
  }
  double alone(std::size_t f) { return kept(Mask{1} << f) == uses[f] ? 0 : volume(uses[f]) / 2; }
  double together(Mask a, Mask b) {
    IndexSet all = kept(a);
    all.merge(kept(b));
    return volume(all);
  }

  double plan() {
    const Mask full = (Mask{1} << factors.size()) - 1;
    for (std::size_t f = 0; f < factors.size(); ++f) steps[Mask{1} << f] = {alone(f), 0, 0};
    if (factors.size() <= kExhaustive) {
      for (Mask mask = 1; mask <= full; ++mask) {
        if (std::has_single_bit(mask)) continue;
        Step best{std::numeric_limits<double>::infinity(), 0, 0};
        const Mask low = mask & (~mask + 1);
        for (Mask left = (mask - 1) & mask; left; left = (left - 1) & mask) {
          if (!(left & low)) continue;  // each pair once
          const double cost = steps[left].cost + steps[mask & ~left].cost + together(left, mask & ~left);
          if (cost <= best.cost) best = {cost, left, mask & ~left};
        }
        steps[mask] = best;
      }
      return steps[full].cost;
    }
    std::vector<Mask> open;
    for (std::size_t f = 0; f < factors.size(); ++f) open.push_back(Mask{1} << f);
    while (open.size() > 1) {
      std::pair<std::size_t, std::size_t> best{0, 1};
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t a = 0; a < open.size(); ++a)
        for (std::size_t b = a + 1; b < open.size(); ++b)
          if (const double cost = together(open[a], open[b]); cost < least) least = cost, best = {a, b};
      const Mask a = open[best.first], b = open[best.second];
      steps[a | b] = {steps[a].cost + steps[b].cost + least, a, b};
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(best.second));
      open[best.first] = a | b;
    }
    return steps[full].cost;
  }

  /// The value of `mask` after its sums, over its kept indices; temps go to `out`.
  Expr emit(Mask mask, const Equation& of, DType type, std::vector<Equation>& out) {
    const Step step = steps[mask];
    Expr body;
    if (!step.left) body = factors[static_cast<std::size_t>(std::countr_zero(mask))];
    else body = pool.mul(emit(step.left, of, type, out), emit(step.right, of, type, out));
    std::vector<IndexId> done;
    const IndexSet after = kept(mask);
    for (IndexId i : pool.free_indices(body))
      if (axes.contains(i) && !after.contains(i)) done.push_back(i);
    if (done.empty()) return body;
    std::vector<IndexId> around = of.indices;
    for (IndexId i : pool[of.body].axes)
      if (std::find(done.begin(), done.end(), i) == done.end()) around.push_back(i);
    const Expr form = outside_loops(program, pool.reduce(Reducer::sum, done, body, {}, type), around);
    const std::vector<IndexId> free = free_in_order(pool, form, of.indices);
    Temp temp = add_temp(program, program.tensors[of.targets[0]].name + "_part", type, free);
    temp.equation.body = fresh_copy(program, form, temp.renaming);
    temp.equation.span = of.span;
    out.push_back(std::move(temp.equation));
    return temp.read;
  }
};

void collect_factors(const ExprPool& pool, Expr e, std::vector<Expr>& out) {
  if (pool[e].op == Op::mul) {
    collect_factors(pool, pool[e].args[0], out);
    collect_factors(pool, pool[e].args[1], out);
  } else {
    out.push_back(e);
  }
}

}  // namespace

bool plan_contractions(Program& program) {
  ExprPool& pool = program.pool;
  std::vector<Equation> out;
  bool changed = false;
  for (Equation& equation : program.equations) {
    const Node root = pool[equation.body];
    const bool fits = is_reduce(pool, equation.body, Reducer::sum) && root.axes.size() >= 2 && pool.is_true(root.args[1]) &&
                      equation.op == AssignOp::set && tree_size(pool, equation.body) <= kLargestTree && pool.type(root.args[0]) == root.type;
    if (fits) {
      Planner planner(program);
      std::vector<Expr> factors;
      collect_factors(pool, root.args[0], factors);
      planner.axes = IndexSet(root.axes.begin(), root.axes.end());
      for (Expr f : factors) {
        const auto& free = pool.free_indices(f);
        planner.factors.push_back(f);
        planner.uses.emplace_back(free.begin(), free.end());
      }
      const Mask full = factors.size() < 31 ? (Mask{1} << factors.size()) - 1 : 0;
      // Axes that no factor has only multiply: they stay with the last sum.
      const bool all_used = full && std::all_of(root.axes.begin(), root.axes.end(),
                                                [&](IndexId i) { return planner.touched(full).contains(i); });
      if (factors.size() >= 2 && all_used) {
        const double plain = planner.volume(planner.touched(full)) * static_cast<double>(factors.size()) / 2;
        if (planner.plan() < kWorthwhile * plain) {
          Expr value = planner.emit(full, equation, root.type, out);
          // Over nothing the sum is 0, whatever stands outside the inner sums.
          if (is_float(root.type) && !certainly_some(program, root.axes, root.args[1]))
            if (Expr some = some_closed(program, root.axes, root.args[1])) value = pool.where(some, value, zero(pool, root.type));
          equation.body = value;
          changed = true;
        }
      }
    }
    out.push_back(std::move(equation));
  }
  program.equations = std::move(out);
  return changed;
}

}  // namespace quern::compiler
