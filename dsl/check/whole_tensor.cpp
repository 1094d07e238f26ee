// Expressions of whole tensors: axes, broadcasting, elementwise operators. Other forms are in the files beside this one.
#include "dsl/check/whole_tensor.h"

#include <algorithm>
#include <utility>

namespace quern::dsl {

using ir::Expr;
using ir::IndexId;
using ir::Op;

WholeTensors::WholeTensors(Elaborator& elaborator) : el_(elaborator), pool_(elaborator.pool) {}

Whole WholeTensors::none(Span at) const { return {{}, Typed{{}, Strength::strong, at, {}}, at}; }

Whole WholeTensors::scalar(const Typed& value) const { return {{}, value, value.span}; }

std::string WholeTensors::hint_for(Expr extent) const {
  const ir::Node& n = pool_[extent];
  if (n.op != Op::symbol) return {};
  const std::string& name = el_.program.symbols[n.payload].name;
  if (name.size() != 1 || name[0] < 'A' || name[0] > 'Z') return {};
  return std::string(1, static_cast<char>(name[0] - 'A' + 'a'));
}

WholeAxis WholeTensors::axis(Expr extent, std::string hint) {
  std::int64_t value = 0;
  if (pool_.is_integer_constant(extent, &value) && value == 1) return stretched_axis();
  if (hint.empty()) hint = hint_for(extent);
  const IndexId index = el_.fresh_index(std::move(hint), pool_.integer(0), extent);
  own_.insert(index);
  return {index, extent};
}

WholeAxis WholeTensors::stretched_axis() { return {kNoIndex, pool_.integer(1)}; }

WholeAxis WholeTensors::indexed(WholeAxis axis) {
  if (!axis.stretches()) return axis;
  axis.index = el_.fresh_index({}, pool_.integer(0), axis.extent);
  own_.insert(axis.index);
  return axis;
}

Expr WholeTensors::position(const WholeAxis& axis) { return axis.stretches() ? pool_.integer(0) : pool_.index(axis.index); }

std::string WholeTensors::shape_text(const std::vector<WholeAxis>& axes) const {
  std::string text = "[";
  for (const WholeAxis& axis : axes) text += (text.size() > 1 ? ", " : "") + el_.sizes.text(axis.extent);
  return axes.empty() ? "of a single value" : text + "]";
}

Whole WholeTensors::expression(const ast::Expr& e) {
  if (!el_.spend(e.span)) return none(e.span);
  struct Visit {
    WholeTensors& w;
    const ast::Expr& e;
    Guarded guard;
    Whole plain() { return w.scalar(w.el_.expression(e)); }
    Whole operator()(const ast::Invalid&) { return w.none(e.span); }
    Whole operator()(const ast::Number&) { return plain(); }
    Whole operator()(const ast::NameUse& n) { return w.name(n.name, e.span); }
    Whole operator()(const ast::Unary& u) { return w.elementwise(u.op, {w.expression(*u.operand)}, e.span); }
    Whole operator()(const ast::Binary& b) {
      std::vector<Whole> values;
      values.push_back(w.expression(*b.left));
      values.push_back(w.expression(*b.right));
      return w.elementwise(b.op, std::move(values), e.span);
    }
    Whole operator()(const ast::MatMul& m) {
      Whole a = w.expression(*m.left);
      return w.matmul(std::move(a), w.expression(*m.right), e.span);
    }
    Whole operator()(const ast::Transpose& t) {
      Whole x = w.expression(*t.operand);
      std::reverse(x.axes.begin(), x.axes.end());
      return x;
    }
    Whole operator()(const ast::List& l) { return w.list(l, e.span); }
    Whole operator()(const ast::Call& c) {
      const Entry* entry = w.el_.find(c.callee.text);
      const auto* function = entry != nullptr ? std::get_if<FunctionName>(&entry->meaning) : nullptr;
      return function != nullptr && is_written_in_index_form(*function->let) ? plain() : w.call(c, e.span);
    }
    Whole operator()(const ast::Subscript& s) { return w.subscript(s, e.span, guard); }
    Whole operator()(const ast::AxisForm&) { return plain(); }
    Whole operator()(const ast::Einsum& s) { return w.einsum(s, e.span); }
  };
  Whole result = std::visit(Visit{*this, e, std::exchange(guard_, {})}, e.node);
  result.span = e.span;
  result.value.span = e.span;
  return result;
}

Whole WholeTensors::name(const std::string& name, Span at) {
  if (!frames_.empty()) {
    const auto argument = frames_.back().find(name);
    if (argument != frames_.back().end()) return renewed(argument->second);
  }
  const Entry* entry = el_.find(name);
  const bool tensor = entry && (std::holds_alternative<TensorName>(entry->meaning) || std::holds_alternative<ViewName>(entry->meaning));
  if (tensor) return of_tensor(entry->meaning, name, at);
  ast::Expr use;
  use.span = at;
  use.node = ast::NameUse{name};
  return scalar(el_.expression(use));
}

Whole WholeTensors::of_tensor(const Meaning& meaning, const std::string& name, Span at) {
  // The indices under which a tensor was defined are the best names for its axes.
  std::vector<std::string> hints;
  if (const auto* tensor = std::get_if<TensorName>(&meaning)) {
    for (const ir::Equation& equation : el_.program.equations) {
      if (equation.op != ir::AssignOp::set || equation.targets.empty() || equation.targets.front() != tensor->tensor) continue;
      for (Expr subscript : equation.subscripts) {
        const ir::Node& n = pool_[subscript];
        hints.push_back(n.op == Op::index ? el_.program.indices[n.payload].name : std::string());
      }
    }
  } else if (const auto* view = std::get_if<ViewName>(&meaning)) {
    for (IndexId index : view->indices) hints.push_back(el_.program.indices[index].name);
  }
  Whole result{{}, {}, at};
  std::vector<Expr> subscripts;
  for (Expr extent : el_.shape(meaning)) {
    const std::size_t i = result.axes.size();
    result.axes.push_back(axis(extent, i < hints.size() ? hints[i] : std::string()));
    subscripts.push_back(position(result.axes.back()));
  }
  result.value = el_.read(meaning, std::move(subscripts), {name, at, {}});
  return result;
}

bool WholeTensors::same_size(const WholeAxis& a, const WholeAxis& b, const Whole& left, const Whole& right, std::size_t from_end, Span at) {
  if (el_.sizes.equal(a.extent, b.extent)) return true;
  const auto axis_text = [&](const Whole& x) { return x.rank() - 1 - from_end; };
  const bool numbers = pool_.is_integer_constant(a.extent) && pool_.is_integer_constant(b.extent);
  const std::string equal = fmt::format(", or write 'require {} == {}' if they are equal", el_.sizes.text(a.extent), el_.sizes.text(b.extent));
  el_.diagnostics.report<Code::broadcast_clash>(at, el_.sizes.text(a.extent), el_.sizes.text(b.extent))
      .label(fmt::format("shapes {} and {}", shape_text(left.axes), shape_text(right.axes)))
      .note(fmt::format("axis {} of the left value and axis {} of the right one meet; only None and a literal 1 stretch", axis_text(left), axis_text(right)))
      .fix("place axes with None, as in x[:, None]" + (numbers ? std::string() : equal));
  return false;
}

bool WholeTensors::broadcast(std::vector<Whole>& values, std::vector<WholeAxis>& axes, Span at) {
  std::size_t rank = 0;
  for (const Whole& x : values) {
    if (!x) return false;
    rank = std::max(rank, x.rank());
  }
  axes.assign(rank, stretched_axis());
  std::vector<Values> replaced(values.size());
  for (std::size_t from_end = 0; from_end < rank; ++from_end) {
    WholeAxis& common = axes[rank - 1 - from_end];
    const Whole* owner = nullptr;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Whole& x = values[i];
      if (from_end >= x.rank()) continue;
      const WholeAxis& own = x.axes[x.rank() - 1 - from_end];
      if (own.stretches()) continue;
      if (owner == nullptr) {
        common = own;
        owner = &x;
        continue;
      }
      if (!same_size(common, own, *owner, x, from_end, at)) return false;
      std::string& hint = el_.program.indices[common.index].name;
      if (hint.empty()) hint = el_.program.indices[own.index].name;
      replaced[i][own.index] = pool_.index(common.index);
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!replaced[i].empty()) values[i] = at_values(std::move(values[i]), {}, replaced[i], at);
    if (!values[i]) return false;
  }
  return true;
}

Whole WholeTensors::elementwise(Op op, std::vector<Whole> values, Span at) {
  Whole result = none(at);
  if (!broadcast(values, result.axes, at)) return result;
  if (op == Op::mul && values.size() == 2) {
    result.value = el_.product(values[0].value, values[1].value, at);
  } else if (op == Op::where) {
    const Expr condition = el_.arith.condition(values[0].value, "the condition of 'where'");
    if (condition) result.value = el_.choose(condition, values[1].value, values[2].value, at);
  } else {
    std::vector<Typed> args;
    for (const Whole& x : values) args.push_back(x.value);
    result.value = el_.arith.apply(op, args, at);
  }
  return result;
}

Whole WholeTensors::at_values(Whole x, std::vector<WholeAxis> axes, const Values& values, Span at) {
  if (!x) return x;
  // Forms that keep an axis can follow it to another index, but not to an expression nor onto an index in use.
  std::set<IndexId> kept, targets;
  std::set<Expr> seen;
  std::vector<Expr> open{x.value.expr};
  if (x.value.support) open.push_back(x.value.support);
  while (!open.empty()) {
    const Expr e = open.back();
    open.pop_back();
    if (!seen.insert(e).second) continue;
    const ir::Node& n = pool_[e];
    if (n.op == Op::map || n.op == Op::scan || n.op == Op::topk_value || n.op == Op::topk_position) kept.insert(n.axes.begin(), n.axes.end());
    open.insert(open.end(), n.args.begin(), n.args.end());
  }
  bool movable = true;
  for (const auto& [index, value] : values) {
    if (!kept.contains(index)) continue;
    const ir::Node& n = pool_[value];
    // The form runs over the whole range of its index, so the new one must have the same.
    const auto same_range = [&](IndexId other) {
      const ir::Index &a = el_.program.indices[index], &b = el_.program.indices[other];
      return el_.sizes.normal(a.begin) == el_.sizes.normal(b.begin) && el_.sizes.normal(a.end) == el_.sizes.normal(b.end);
    };
    movable = movable && n.op == Op::index && same_range(static_cast<IndexId>(n.payload)) &&
              !pool_.depends_on(x.value.expr, static_cast<IndexId>(n.payload)) &&
              targets.insert(static_cast<IndexId>(n.payload)).second;
  }
  for (const auto& [index, value] : values) {
    if (kept.contains(index)) continue;
    for (IndexId target : targets) movable = movable && !pool_.depends_on(value, target);
  }
  Whole result{std::move(axes), x.value, x.span};
  if (movable) {
    result.value.expr = pool_.substitute(x.value.expr, values);
    if (x.value.support) result.value.support = pool_.substitute(x.value.support, values);
    return result;
  }
  std::string name;
  const Meaning tensor = materialised(x, at, name);
  std::vector<Expr> subscripts;
  for (const WholeAxis& axis : x.axes) {
    const auto value = values.find(axis.index);
    subscripts.push_back(!axis.stretches() && value != values.end() ? value->second : position(axis));
  }
  // Whoever moves a value has made sure of the range: slices by conditions on the call, parts of a list by guards.
  if (const auto* part = std::get_if<TensorName>(&tensor)) {
    const DType type = el_.program.tensors[part->tensor].type;
    result.value = Typed{pool_.read(part->tensor, type, std::move(subscripts)), Strength::strong, at, {}};
  } else {
    result.value = {};
  }
  return result;
}

Whole WholeTensors::renewed(const Whole& x) {
  if (!x) return x;
  Values values;
  std::vector<WholeAxis> axes;
  for (const WholeAxis& old : x.axes) {
    WholeAxis own{kNoIndex, old.extent};
    if (!old.stretches()) {
      own = indexed(own);
      el_.program.indices[own.index].name = el_.program.indices[old.index].name;
      values[old.index] = pool_.index(own.index);
    }
    axes.push_back(own);
  }
  return at_values(x, std::move(axes), values, x.span);
}

Meaning WholeTensors::materialised(const Whole& x, Span at, std::string& name) {
  name = el_.fresh_name("part");
  // The definition has indices of its own: the caller goes on with those of x.
  std::vector<WholeAxis> axes;
  std::vector<IndexId> indices;
  std::vector<Expr> subscripts, shape;
  Values values;
  for (const WholeAxis& old : x.axes) {
    WholeAxis own;
    own.extent = old.extent;
    own = indexed(own);
    if (!old.stretches()) {
      el_.program.indices[own.index].name = el_.program.indices[old.index].name;
      values[old.index] = pool_.index(own.index);
    }
    axes.push_back(own);
    indices.push_back(own.index);
    subscripts.push_back(pool_.index(own.index));
    shape.push_back(own.extent);
  }
  Typed body = el_.arith.resolved(x.value);
  body.expr = pool_.substitute(body.expr, values);
  body.support = {};
  name_indices(axes, {body});
  el_.define(ast::Name{name, at}, indices, subscripts, shape, body, at);
  const Entry* entry = el_.find(name);
  return entry ? entry->meaning : Meaning{BrokenName{}};
}

}  // namespace quern::dsl
