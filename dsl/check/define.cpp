// Definitions: what a statement's target becomes, and the conversion of its value to the target's type.
// The one idea: a name is defined once; an output and an inout parameter bring their type and shape, a new name takes
// those of its value and becomes an intermediate.
#include "dsl/check/elaborate.h"

namespace quern::dsl {

const std::vector<ir::Expr>* Elaborator::declared_shape(const std::string& name) const {
  const Entry* entry = find(name);
  const auto* t = entry ? std::get_if<TensorName>(&entry->meaning) : nullptr;
  if (!t || (t->defined && !new_values.contains(t->tensor))) return nullptr;
  return &program.tensors[t->tensor].shape;
}

void Elaborator::give_up(const ast::Name& target) {
  auto it = names.find(target.text);
  if (it == names.end() || it->second.outside) {
    names[target.text] = {BrokenName{}, target.span, false};
    name_order.push_back(target.text);
  } else if (auto* t = std::get_if<TensorName>(&it->second.meaning)) {
    t->defined = true;
    new_values.erase(t->tensor);
  }
}

// Whether a statement may define this name; reports why not.
bool Elaborator::assignable(const ast::Name& target) {
  auto it = names.find(target.text);
  if (it == names.end() || it->second.outside) return true;
  const auto* t = std::get_if<TensorName>(&it->second.meaning);
  if (t && (!t->defined || new_values.contains(t->tensor))) return true;
  if (t && program.tensors[t->tensor].role == ir::Role::input) {
    diagnostics.report<Code::assign_to_input>(target.span, target.text)
        .note("declared here", it->second.span)
        .fix(fmt::format("declare it 'inout {}', or assign to an output", target.text));
  } else if (t && program.tensors[t->tensor].entry) {
    diagnostics.report<Code::inout_assigned_twice>(target.span, target.text)
        .fix("give the first result a name of its own");
  } else if (!std::holds_alternative<BrokenName>(it->second.meaning)) {
    diagnostics.report<Code::redefined>(target.span, target.text)
        .note("the first definition", it->second.span)
        .fix("use another name");
  }
  return false;
}

std::optional<ir::TensorId> Elaborator::target_tensor(const ast::Name& target, DType type,
                                                      const std::vector<ir::Expr>& shape, Span at) {
  if (!assignable(target)) return std::nullopt;
  auto it = names.find(target.text);
  if (it == names.end() || it->second.outside) {
    ir::Tensor tensor;
    tensor.name = target.text;
    tensor.type = type;
    tensor.shape = shape;
    tensor.span = {target.span.begin, target.span.end};
    const ir::TensorId id = program.add_tensor(std::move(tensor));
    declare(target, TensorName{id, true});
    for (ir::Expr e : shape) require(pool.apply(ir::Op::le, {pool.integer(0), e}), at);
    return id;
  }
  auto* t = std::get_if<TensorName>(&it->second.meaning);
  const std::vector<ir::Expr> declared = program.tensors[t->tensor].shape;
  auto listed = [&](const std::vector<ir::Expr>& s) {
    std::string out;
    for (ir::Expr e : s) out += fmt::format("{}{}", out.empty() ? "" : ",", sizes.text(e));
    return fmt::format("[{}]", out);
  };
  bool same = declared.size() == shape.size();
  for (std::size_t i = 0; same && i < shape.size(); ++i) same = sizes.equal(declared[i], shape[i]);
  if (!same) {
    diagnostics.report<Code::shape_mismatch>(at, target.text, listed(declared), listed(shape))
        .note("declared here", it->second.span);
    return std::nullopt;
  }
  if (!t->defined) {
    t->defined = true;
    return t->tensor;
  }
  const auto fresh = new_values.find(t->tensor);
  const ir::TensorId id = fresh->second;
  new_values.erase(fresh);
  t->tensor = id;
  return id;
}

ir::Expr Elaborator::stored_as(const Typed& body, DType type, const std::string& target, Span at) {
  if (!body) return {};
  const DType from = arith.type(body);
  if (is_float(from) && !is_float(type)) {
    auto& d = diagnostics.report<Code::stored_type>(body.span.empty() ? at : body.span, target, name(type),
                                                    name(body.strength == Strength::literal_real ? DType::f32 : from));
    if (type == DType::boolean)
      d.fix("compare it, as in 'x != 0'");
    else
      d.fix(fmt::format("cast it: {}(...) goes toward zero, {}(round(...)) to the nearest", name(type), name(type)));
    return {};
  }
  if (type == DType::boolean && from != DType::boolean) {
    diagnostics.report<Code::stored_type>(body.span.empty() ? at : body.span, target, name(type), name(from))
        .fix("compare it, as in 'x != 0'");
    return {};
  }
  if (!is_small_float(type)) return arith.cast(body, type);
  // The store itself rounds: once, from the type the value was computed in.
  if (from == type || (from == DType::f64 && body.strength == Strength::strong)) return body.expr;
  return arith.cast(body, DType::f32);
}

bool gives_positions(const ir::Node& n) {
  if (n.op == ir::Op::map) return n.payload == static_cast<int>(ir::AxisMap::argsort);
  return n.op == ir::Op::reduce &&
         (n.payload == static_cast<int>(ir::Reducer::argmax) || n.payload == static_cast<int>(ir::Reducer::argmin));
}

bool Elaborator::define(const ast::Name& target, const std::vector<ir::IndexId>& indices,
                        std::vector<ir::Expr> subscripts, std::vector<ir::Expr> shape, const Typed& body, Span at) {
  if (!body) {
    give_up(target);
    return false;
  }
  const auto id = target_tensor(target, arith.type(arith.resolved(body)), shape, at);
  if (!id) {
    give_up(target);
    return false;
  }
  ir::Equation equation;
  equation.targets = {*id};
  equation.indices = indices;
  equation.body = stored_as(body, program.tensors[*id].type, target.text, at);
  equation.span = {at.begin, at.end};
  if (!equation.body) return false;
  bool plain = subscripts.size() == indices.size();
  for (std::size_t i = 0; plain && i < subscripts.size(); ++i) plain = subscripts[i] == pool.index(indices[i]);
  if (body.support && plain) support_[*id] = {indices, body.support};
  equation.subscripts = std::move(subscripts);
  // Positions along an axis are indices of it (-1 where there is none): reads through them are tested.
  ir::Expr positions = equation.body;
  while (pool[positions].op == ir::Op::cast) positions = pool[positions].args[0];
  if (const ir::Node n = pool[positions];
      gives_positions(n) && is_integer(program.tensors[*id].type) && size_of(program.tensors[*id].type) >= 4)
    proofs.assume_values(*id, program.indices[n.axes[0]].begin, program.indices[n.axes[0]].end);
  program.equations.push_back(std::move(equation));
  return true;
}

Typed Elaborator::topk(ir::IndexId bound, ir::IndexId listed, const Typed& given, ir::Expr domain, Span at) {
  if (!given) return {{}, Strength::strong, at, {}};
  Typed body = arith.resolved(given);
  if (arith.type(body) == DType::boolean) body.expr = pool.cast(body.expr, DType::i32);
  const ir::Expr where = domain ? domain : pool.boolean(true);
  return {pool.intern({ir::Op::topk_value, arith.type(body), 0, 0, {body.expr, where}, {bound, listed}}),
          Strength::strong,
          at,
          {}};
}

bool Elaborator::define_topk(const ast::Name& values, const ast::Name* positions,
                             const std::vector<ir::IndexId>& indices, std::vector<ir::Expr> subscripts,
                             std::vector<ir::Expr> shape, const Typed& value, Span at) {
  const ast::Name unnamed{fresh_name(values.text + "_at"), {}};
  const ast::Name& second = positions ? *positions : unnamed;
  if (!value) {
    give_up(values);
    give_up(second);
    return false;
  }
  const auto v = target_tensor(values, arith.type(value), shape, at);
  const auto p = target_tensor(second, DType::i32, shape, at);
  if (!v || !p) return false;
  const DType position_type = program.tensors[*p].type;
  if (!is_integer(position_type)) {
    diagnostics.report<Code::stored_type>(second.span, second.text, name(position_type), name(DType::i32))
        .fix("declare positions as i32");
    return false;
  }
  ir::Equation equation;
  equation.targets = {*v, *p};
  equation.indices = indices;
  equation.subscripts = std::move(subscripts);
  equation.body = value.expr;
  equation.span = {at.begin, at.end};
  const DType type = program.tensors[*v].type;
  if (is_float(arith.type(value)) != is_float(type) || type == DType::boolean) {
    diagnostics.report<Code::stored_type>(values.span, values.text, name(type), name(arith.type(value)))
        .fix(fmt::format("declare it as {}", name(arith.type(value))));
    return false;
  }
  if (size_of(position_type) >= 4) {
    const ir::Index axis = program.indices[pool[value.expr].axes[0]];
    proofs.assume_values(*p, axis.begin, axis.end);
  }
  program.equations.push_back(std::move(equation));
  return true;
}

void Elaborator::require(ir::Expr condition, Span at) {
  if (!condition || proofs.holds_always(condition)) return;
  program.requirements.push_back({condition, {at.begin, at.end}});
  proofs.assume_always(condition);
}

}  // namespace quern::dsl
