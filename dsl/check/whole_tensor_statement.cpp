// Statements without brackets on their left: name = expr, name += expr, a, b = topk(x, K, axis=-1).
// The one idea: a whole-tensor value is defined like any index-form equation, after its indices have got their names.
#include <algorithm>

#include "dsl/check/whole_tensor.h"
#include "dsl/syntax/walk.h"
#include "dsl/syntax/words.h"

namespace quern::dsl {

using ir::Expr;
using ir::IndexId;
using ir::Op;

namespace {

bool contains_form(const ast::Expr& e) {
  bool found = std::holds_alternative<ast::AxisForm>(e.node);
  for_each_child(e, [&](const ast::Expr& child) { found = found || contains_form(child); });
  return found;
}

}  // namespace

bool is_written_in_index_form(const ast::Let& let) { return let.value && contains_form(*let.value); }

bool Elaborator::has_whole_tensors(const ast::Expr& e) const {
  const auto is_tensor = [&](const std::string& name) {
    const Entry* entry = find(name);
    if (entry == nullptr) return false;
    const bool tensor = std::holds_alternative<TensorName>(entry->meaning) || std::holds_alternative<ViewName>(entry->meaning);
    return tensor && !shape(entry->meaning).empty();
  };
  const auto in_children = [&](const ast::Expr& parent) {
    bool found = false;
    for_each_child(parent, [&](const ast::Expr& child) { found = found || has_whole_tensors(child); });
    return found;
  };
  if (std::holds_alternative<ast::MatMul>(e.node) || std::holds_alternative<ast::Transpose>(e.node) ||
      std::holds_alternative<ast::List>(e.node) || std::holds_alternative<ast::Einsum>(e.node)) {
    return true;
  }
  if (const auto* use = std::get_if<ast::NameUse>(&e.node)) return is_tensor(use->name);
  if (std::holds_alternative<ast::AxisForm>(e.node)) return false;
  if (const auto* s = std::get_if<ast::Subscript>(&e.node)) {
    const auto* base = std::get_if<ast::NameUse>(&s->base->node);
    if (base == nullptr) return true;
    for (const ast::SubscriptItem& item : s->items) {
      if (std::holds_alternative<ast::Pair>(item.value)) return false;
      const auto* value = std::get_if<ast::ExprPtr>(&item.value);
      if (value == nullptr || has_whole_tensors(**value)) return true;
    }
    const Entry* entry = find(base->name);
    return entry != nullptr && is_tensor(base->name) && s->items.size() < shape(entry->meaning).size();
  }
  if (const auto* c = std::get_if<ast::Call>(&e.node)) {
    const Entry* entry = find(c->callee.text);
    const auto* function = entry != nullptr ? std::get_if<FunctionName>(&entry->meaning) : nullptr;
    // A function written in index form takes tensors by name.
    if (function != nullptr && is_written_in_index_form(*function->let)) return false;
    if (entry == nullptr && is_whole_tensor_function(c->callee.text)) return true;
    if (entry == nullptr && form_word(c->callee.text) != nullptr) {
      const bool named = std::any_of(c->arguments.begin(), c->arguments.end(), [](const ast::Argument& a) { return a.keyword.has_value(); });
      const bool elementwise = c->callee.text == "max" || c->callee.text == "min";
      if (named || !elementwise || c->arguments.size() == 1) return true;
    }
  }
  return in_children(e);
}

void Elaborator::whole_tensor_statement(const ast::Assign& assign, Span at) { WholeTensors(*this).statement(assign, at); }

void WholeTensors::broken(const ast::Assign& assign) {
  for (const ast::Target& target : assign.targets) el_.give_up(target.name);
}

void WholeTensors::statement(const ast::Assign& assign, Span at) {
  for (const ast::Target& target : assign.targets) {
    if (!target.bracketed) continue;
    el_.diagnostics.report<Code::mixed_targets>(target.span).fix("write all targets without brackets, or all with");
    return broken(assign);
  }
  const auto* call = std::get_if<ast::Call>(&assign.value->node);
  if (call != nullptr && call->callee.text == "topk" && el_.find("topk") == nullptr) return topk(assign, *call, at);
  if (assign.targets.size() > 1) {
    el_.diagnostics.report<Code::several_targets>(assign.targets[1].span).label("only topk gives two results").fix("write one statement for each");
    return broken(assign);
  }
  const ast::Name& target = assign.targets.front().name;
  Whole value = expression(*assign.value);
  if (value && assign.op != ir::AssignOp::set) {
    // An inout parameter combined with a value of its shape: its values at entry are read.
    std::vector<Whole> both;
    both.push_back(name(target.text, target.span));
    both.push_back(std::move(value));
    const Op op = assign.op == ir::AssignOp::add ? Op::add : assign.op == ir::AssignOp::max ? Op::max : Op::min;
    value = elementwise(op, std::move(both), at);
  }
  if (!value) return broken(assign);
  std::vector<IndexId> indices;
  std::vector<Expr> subscripts, shape;
  for (WholeAxis& axis : value.axes) {
    axis = indexed(axis);
    indices.push_back(axis.index);
    subscripts.push_back(pool_.index(axis.index));
    shape.push_back(axis.extent);
  }
  name_indices(value.axes, {value.value});
  el_.define(target, indices, std::move(subscripts), std::move(shape), value.value, at);
}

void WholeTensors::topk(const ast::Assign& assign, const ast::Call& call, Span at) {
  if (assign.targets.size() > 2) {
    el_.diagnostics.report<Code::several_targets>(assign.targets[2].span).label("topk gives values and positions").fix("write v, p = topk(x, K, axis=-1)");
    return broken(assign);
  }
  const ast::Expr *written = nullptr, *count = nullptr, *along = nullptr;
  if (!topk_arguments(call, at, written, count, along)) return broken(assign);
  Whole x = expression(*written);
  const Expr size = el_.size_expression(*count);
  if (!x || !size || !needs_rank(x, 1, "'topk'", written->span)) return broken(assign);
  std::optional<std::size_t> axis = x.rank() - 1;
  if (along != nullptr) axis = axis_of(*along, x.rank(), "topk");
  if (!axis) return broken(assign);
  const WholeAxis bound = indexed(x.axes[*axis]);
  WholeAxis listed;
  listed.extent = size;
  listed = indexed(listed);
  x.axes[*axis] = listed;
  const Typed value = el_.topk(bound.index, listed.index, x.value, pool_.boolean(true), at);
  std::vector<IndexId> indices;
  std::vector<Expr> subscripts, shape;
  for (WholeAxis& each : x.axes) {
    each = indexed(each);
    indices.push_back(each.index);
    subscripts.push_back(pool_.index(each.index));
    shape.push_back(each.extent);
  }
  name_indices(x.axes, {value});
  const ast::Name* positions = assign.targets.size() > 1 ? &assign.targets[1].name : nullptr;
  el_.define_topk(assign.targets[0].name, positions, indices, std::move(subscripts), std::move(shape), value, at);
}

}  // namespace quern::dsl
