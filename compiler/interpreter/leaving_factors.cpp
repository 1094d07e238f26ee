// Walks products, quotients, signs, permitted roundings, guards (where(c, a, 0)), names of temps and inner sums.
#include "compiler/interpreter/leaving_factors.h"

#include <algorithm>
#include <unordered_map>

namespace quern::interpreter {

using namespace ir;

namespace {

constexpr int kMostSteps = 256;  // x * x walks x twice

struct Walk {
  Program& program;
  ExprPool& pool;
  const std::function<const Equation*(TensorId)>& definition;
  int steps = 0;

  struct Part {
    Expr e;
    bool divides;
    Expr guard;  // none: everywhere
  };

  bool is_zero(Expr e) {
    double v = 1;
    return pool.is_real_constant(e, &v) && v == 0;
  }
  bool is_permitted(const Node& n) {
    if (!is_float(n.type) || !is_float(pool.type(n.args[0]))) return false;
    const Node& inner = pool[n.args[0]];
    return (n.flags & kAllowed) || (inner.op == Op::cast && (inner.flags & kAllowed)) ||
           unit_roundoff(n.type) <= unit_roundoff(pool.type(n.args[0]));
  }

  /// A form in it keeps an axis, which only a name of its own can take the place of.
  bool keeps_axis(Expr e) {
    const Node& n = pool[e];
    if (n.op == Op::map || n.op == Op::scan || n.op == Op::topk_value || n.op == Op::topk_position || ++steps > kMostSteps) return true;
    return std::any_of(n.args.begin(), n.args.end(), [&](Expr a) { return keeps_axis(a); });
  }

  /// The body behind the read of a temp, over the reader's indices.
  Expr written_out(const Node& read) {
    const auto t = static_cast<TensorId>(read.payload);
    const Equation* eq = definition(t);
    if (!eq || eq->op != AssignOp::set || eq->targets.size() != 1 || program.tensors[t].role != Role::temp) return {};
    if (pool.type(eq->body) != read.type || keeps_axis(eq->body)) return {};
    std::unordered_map<IndexId, Expr> values;
    for (std::size_t k = 0; k < eq->subscripts.size(); ++k) {
      const Node& s = pool[eq->subscripts[k]];
      const Expr core = s.op == Op::sub ? s.args[0] : eq->subscripts[k];
      if (pool[core].op != Op::index) return {};
      values[static_cast<IndexId>(pool[core].payload)] = s.op == Op::sub ? pool.add(read.args[k], s.args[1]) : read.args[k];
    }
    return pool.substitute(eq->body, values);
  }

  /// e = the product of `parts`, as far as it is one.
  void factors(Expr e, bool divides, Expr guard, std::vector<Part>& parts) {
    const Node n = pool[e];
    if (++steps <= kMostSteps) switch (n.op) {
        case Op::mul:
        case Op::div:
          factors(n.args[0], divides, guard, parts);
          return factors(n.args[1], divides != (n.op == Op::div), guard, parts);
        case Op::neg: return factors(n.args[0], divides, guard, parts);
        case Op::cast:
          if (is_permitted(n)) return factors(n.args[0], divides, guard, parts);
          break;
        case Op::where:
          for (int side = 1; side <= 2 && !divides; ++side) {
            if (!is_zero(n.args[static_cast<std::size_t>(3 - side)])) continue;
            const Expr c = side == 1 ? n.args[0] : pool.apply(Op::not_, {n.args[0]});
            return factors(n.args[static_cast<std::size_t>(side)], divides, guard ? pool.both(guard, c) : c, parts);
          }
          break;
        case Op::read:
          if (const Expr body = written_out(n)) {
            std::vector<Part> own;
            factors(body, divides, guard, own);
            if (own.size() > 1) return void(parts.insert(parts.end(), own.begin(), own.end()));
          }
          break;
        case Op::reduce: {
          const auto reducer = static_cast<Reducer>(n.payload);
          if (!is_float(n.type) || (reducer != Reducer::sum && reducer != Reducer::mean)) break;
          std::vector<Part> own, stay;
          factors(n.args[0], false, {}, own);
          for (const Part& p : own)
            if (pool.depends_on_any(p.e, n.axes) || (p.guard && pool.depends_on_any(p.guard, n.axes))) stay.push_back(p);
            else parts.push_back({p.e, p.divides != divides, guard});
          if (stay.size() == own.size()) break;
          const Expr inner = stay.empty() ? pool.real(1, n.type) : product(stay);
          parts.push_back({pool.reduce(reducer, n.axes, pool.cast(inner, n.type), n.args[1], n.type), divides, guard});
          return;
        }
        default: break;
      }
    parts.push_back({e, divides, guard});
  }

  /// A weight that is divided by what does not vary along the axes: a softmax, or a quotient written so.
  bool is_normalised(Expr e, const std::vector<IndexId>& axes) {
    const Node n = pool[e];
    if (++steps > kMostSteps) return false;
    switch (n.op) {
      case Op::map: return static_cast<AxisMap>(n.payload) == AxisMap::softmax;
      case Op::mul: return is_normalised(n.args[0], axes) || is_normalised(n.args[1], axes);
      case Op::div: return (!pool.is_constant(n.args[1]) && !pool.depends_on_any(n.args[1], axes)) || is_normalised(n.args[0], axes);
      case Op::neg: return is_normalised(n.args[0], axes);
      case Op::cast: return is_permitted(n) && is_normalised(n.args[0], axes);
      case Op::read: {
        if (const Expr body = written_out(n)) return is_normalised(body, axes);
        const Equation* eq = definition(static_cast<TensorId>(n.payload));
        return eq && pool[eq->body].op == Op::map && is_normalised(eq->body, axes);
      }
      default: return false;
    }
  }
  /// A sum or difference, each term with a divisor of its own.
  bool is_weights(Expr e, const std::vector<IndexId>& axes, bool below = false) {
    const Node n = pool[e];
    if (++steps > kMostSteps) return false;
    switch (n.op) {
      case Op::add:
      case Op::sub: return is_weights(n.args[0], axes, true) && is_weights(n.args[1], axes, true);
      case Op::neg: return is_weights(n.args[0], axes, below);
      case Op::cast: return is_permitted(n) && is_weights(n.args[0], axes, below);
      case Op::read:
        if (const Expr body = below ? Expr{} : written_out(n)) return is_weights(body, axes);
        [[fallthrough]];
      default: return below && is_normalised(e, axes);
    }
  }

  Expr guarded(const Part& p) { return p.guard ? pool.where(p.guard, p.e, pool.real(1, pool.type(p.e))) : p.e; }

  Expr product(const std::vector<Part>& parts) {
    DType type = DType::f32;
    for (const Part& p : parts)
      if (pool.type(p.e) == DType::f64) type = DType::f64;
    Expr out;
    for (const Part& p : parts) {
      const Expr e = pool.cast(guarded(p), type);
      if (p.divides) out = pool.div(out ? out : pool.real(1, type), e);
      else out = out ? pool.mul(out, e) : e;
    }
    return out;
  }
};

}  // namespace

LeavingFactors leaving_factors(Program& program, Expr term, const std::vector<IndexId>& axes,
                               const std::function<const Equation*(TensorId)>& definition) {
  Walk walk{program, program.pool, definition};
  LeavingFactors out;
  std::vector<Walk::Part> parts, stay;
  walk.factors(term, false, {}, parts);
  for (const Walk::Part& p : parts) {
    const bool leaves = std::any_of(axes.begin(), axes.end(), [&](IndexId i) { return !program.pool.depends_on(p.e, i); });
    if (leaves && is_float(program.pool.type(p.e))) out.factors.push_back({walk.guarded(p), p.divides});
    else stay.push_back(p);
  }
  if (!out.factors.empty() && !stay.empty()) out.rest = walk.product(stay);
  if (program.annotations.precise) return out;
  walk.steps = 0;
  for (const Walk::Part& p : parts) {
    if (p.divides || !walk.is_weights(p.e, axes)) continue;
    for (const Walk::Part& other : parts)
      if (other.e != p.e) out.beside_weights.push_back(walk.guarded(other));
  }
  return out;
}

}  // namespace quern::interpreter
