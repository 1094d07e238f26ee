// Looks through the names of tensors, as the passes do when they write them out (reassociation.h).
#include "compiler/interpreter/reassociation.h"

#include <algorithm>

namespace quern::interpreter {

using ir::IndexId;
using ir::Node;

bool Reassociation::recurrent(Expr e) {
  if (!e) return false;
  if (auto it = recurrent_.find(e.id); it != recurrent_.end()) return it->second;
  const Node& n = program_.pool[e];
  bool yes = n.op == Op::previous;
  for (std::size_t i = 0; i < n.args.size(); ++i) yes |= !(n.op == Op::scan && i == 0) && recurrent(n.args[i]);
  return recurrent_[e.id] = yes;
}

/// Not just stored or given: some arithmetic on floats made it, here or behind a name.
bool Reassociation::computed(Expr e) {
  if (auto it = computed_.find(e.id); it != computed_.end()) return it->second;
  const Node n = program_.pool[e];
  bool yes = false;
  switch (n.op) {
    case Op::constant:
    case Op::symbol:
    case Op::index:
    case Op::scalar:
    case Op::topk_position:
      break;
    case Op::neg:
    case Op::abs:
    case Op::topk_value:
      yes = computed(n.args[0]);
      break;
    case Op::cast:
      yes = is_float(program_.pool.type(n.args[0])) && computed(n.args[0]);
      break;
    case Op::where:
      yes = computed(n.args[1]) || computed(n.args[2]);
      break;
    case Op::min:
    case Op::max:
      yes = computed(n.args[0]) || computed(n.args[1]);
      break;
    case Op::read: {
      const int k = definition_[static_cast<std::size_t>(n.payload)];
      const Expr body = k < 0 ? Expr{} : program_.equations[static_cast<std::size_t>(k)].body;
      yes = body && is_float(program_.pool.type(body)) && (program_.equations[static_cast<std::size_t>(k)].op != ir::AssignOp::set || computed(body));
      break;
    }
    case Op::reduce: {
      const auto reducer = static_cast<ir::Reducer>(n.payload);
      yes = (reducer != ir::Reducer::max && reducer != ir::Reducer::min) || computed(n.args[0]);
      break;
    }
    default:
      yes = true;
  }
  return computed_[e.id] = yes;
}

/// The indices that a value really depends on, seen through names.
const std::set<IndexId>& Reassociation::varies_with(Expr e) {
  if (auto it = varies_with_.find(e.id); it != varies_with_.end()) return it->second;
  const Node n = program_.pool[e];
  std::set<IndexId> out;
  const auto take = [&](Expr a) {
    const std::set<IndexId>& from = varies_with(a);
    out.insert(from.begin(), from.end());
  };
  if (n.op == Op::index) out.insert(static_cast<IndexId>(n.payload));
  const int k = n.op == Op::read ? definition_[static_cast<std::size_t>(n.payload)] : -1;
  const ir::Equation* eq = k < 0 ? nullptr : &program_.equations[static_cast<std::size_t>(k)];
  for (std::size_t i = 0; i < n.args.size(); ++i) {
    if (eq && eq->op == ir::AssignOp::set && program_.pool[eq->subscripts[i]].op == Op::index &&
        !varies_with(eq->body).contains(static_cast<IndexId>(program_.pool[eq->subscripts[i]].payload)))
      continue;
    take(n.args[i]);
  }
  if (n.op == Op::reduce)
    for (IndexId a : n.axes) out.erase(a);
  if (n.op == Op::topk_value || n.op == Op::topk_position) out.erase(n.axes[0]), out.insert(n.axes[1]);
  if (n.op == Op::map || n.op == Op::scan) out.insert(n.axes[0]);
  return varies_with_[e.id] = std::move(out);
}

/// A computed quotient whose divisor is the same for many values may be a product with the reciprocal. Whole numbers
/// divide: a mean of equal values is exactly that value.
bool Reassociation::by_reciprocal(const Node& n) {
  if (program_.annotations.precise || n.op != Op::div || !is_float(n.type) || program_.pool.is_constant(n.args[1])) return false;
  const Node& divisor = program_.pool[n.args[1]];
  if (divisor.op == Op::cast && !is_float(program_.pool.type(divisor.args[0]))) return false;
  if (!computed(n.args[0]) && !computed(n.args[1])) return false;
  const std::set<IndexId>&above = varies_with(n.args[0]), &below = varies_with(n.args[1]);
  return !std::includes(below.begin(), below.end(), above.begin(), above.end());
}

/// How the steps of a recurrence may be combined in another order.
Reorder Reassociation::of_steps(Expr step) {
  if (!recurrent(step)) return Reorder::sum;
  const Node n = program_.pool[step];
  const auto both = [&](Expr a, Expr b) { return std::min(of_steps(a), of_steps(b)); };
  switch (n.op) {
    case Op::previous:
      return Reorder::sum;
    case Op::add:
      return recurrent(n.args[0]) && recurrent(n.args[1]) ? std::min(Reorder::linear, both(n.args[0], n.args[1])) : both(n.args[0], n.args[1]);
    case Op::sub:
      return recurrent(n.args[1]) ? std::min(Reorder::linear, both(n.args[0], n.args[1])) : of_steps(n.args[0]);
    case Op::neg:
      return std::min(Reorder::linear, of_steps(n.args[0]));
    case Op::mul:
      if (recurrent(n.args[0]) && recurrent(n.args[1])) return Reorder::none;
      return std::min(Reorder::linear, both(n.args[0], n.args[1]));
    case Op::div:
      return recurrent(n.args[1]) ? Reorder::none : std::min(Reorder::linear, of_steps(n.args[0]));
    case Op::where:
      return recurrent(n.args[0]) ? Reorder::none : both(n.args[1], n.args[2]);
    default:
      return Reorder::none;
  }
}

}  // namespace quern::interpreter
