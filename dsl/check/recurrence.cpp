// Degrees in `prev`, structurally (recurrence.h).
#include "dsl/check/recurrence.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <unordered_map>

namespace quern::dsl {

using ir::Expr;
using ir::ExprPool;
using ir::Node;
using ir::Op;
using ir::Reducer;

namespace {

constexpr int kMostPowers = 4;
constexpr double kLargestTree = 4000;  // what walks that follow both operands of x * x still do

struct Degrees {
  const ExprPool& pool;
  DType type;  // of the sum
  std::unordered_map<std::uint32_t, bool> uses;
  std::unordered_map<std::uint32_t, double> sizes;

  bool uses_previous(Expr e) {
    if (auto it = uses.find(e.id); it != uses.end()) return it->second;
    const Node& n = pool[e];
    bool yes = n.op == Op::previous;
    for (std::size_t i = n.op == Op::scan ? 2 : 0; i < n.args.size(); ++i) yes = uses_previous(n.args[i]) || yes;  // a scan's body has its own
    return uses[e.id] = yes;
  }
  double tree(Expr e) {
    if (auto it = sizes.find(e.id); it != sizes.end()) return it->second;
    double total = 1;
    for (Expr a : pool[e].args)
      if (a) total += tree(a);
    return sizes[e.id] = total;
  }

  /// The degree of e, or none where it is no polynomial.
  std::optional<int> of(Expr e) {
    if (!uses_previous(e)) return 0;
    const Node& n = pool[e];
    const auto larger = [](std::optional<int> a, std::optional<int> b) { return a && b ? std::optional(std::max(*a, *b)) : std::nullopt; };
    switch (n.op) {
      case Op::previous: return n.type == type ? std::optional(1) : std::nullopt;
      case Op::neg: return of(n.args[0]);
      case Op::add:
      case Op::sub: return larger(of(n.args[0]), of(n.args[1]));
      case Op::mul: {
        const auto a = of(n.args[0]), b = of(n.args[1]);
        return a && b ? std::optional(*a + *b) : std::nullopt;
      }
      case Op::div: return uses_previous(n.args[1]) ? std::nullopt : of(n.args[0]);
      case Op::pow: {
        double k = 0;
        const auto a = of(n.args[0]);
        if (!a || !pool.is_real_constant(n.args[1], &k) || k != std::floor(k) || k < 1 || k > kMostPowers) return std::nullopt;
        return *a * static_cast<int>(k);
      }
      case Op::cast: {
        const Node& inner = pool[n.args[0]];
        if (n.flags & ir::kAllowed) return of(n.args[0]);
        return inner.op == Op::cast && (inner.flags & ir::kAllowed) ? of(inner.args[0]) : std::nullopt;
      }
      case Op::where: return uses_previous(n.args[0]) ? std::nullopt : larger(of(n.args[1]), of(n.args[2]));
      default: return std::nullopt;
    }
  }

  bool leaves_extreme(Expr body, const Node& form, bool maximum) {
    if (!uses_previous(body) || !pool.depends_on_any(body, form.axes)) return true;
    const Node& n = pool[body];
    const bool same = n.op == (maximum ? Op::max : Op::min);
    if (n.op == Op::neg) return leaves_extreme(n.args[0], form, !maximum);
    if (n.op != Op::add && n.op != Op::sub && !same) return false;
    for (std::size_t side = 0; side < 2; ++side) {
      if (pool.depends_on_any(n.args[1 - side], form.axes)) continue;
      if (leaves_extreme(n.args[side], form, maximum != (n.op == Op::sub && side == 1))) return true;
    }
    return false;
  }
};

}  // namespace

bool uses_previous(const ExprPool& pool, Expr e) { return Degrees{pool, DType::f32, {}, {}}.uses_previous(e); }

bool previous_leaves(const ExprPool& pool, Expr form) {
  const Node& n = pool[form];
  Degrees degrees{pool, n.type, {}, {}};
  if (!degrees.uses_previous(form)) return true;
  if (n.op != Op::reduce || degrees.uses_previous(n.args[1]) || degrees.tree(form) > kLargestTree) return false;
  switch (static_cast<Reducer>(n.payload)) {
    case Reducer::sum:
    case Reducer::mean: {
      const auto degree = is_float(n.type) ? degrees.of(n.args[0]) : std::nullopt;
      return degree && *degree <= kMostPowers;
    }
    case Reducer::max:
    case Reducer::min: return degrees.leaves_extreme(n.args[0], n, static_cast<Reducer>(n.payload) == Reducer::max);
    default: return false;
  }
}

}  // namespace quern::dsl
