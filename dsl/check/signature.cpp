// See signature.h. The one idea: every name in the shape of an input is a size; each must be determined by a bare use,
// by a product whose other factors are known, or by being compile-time. All other sizes are expressions over these.
#include "dsl/check/signature.h"

#include <algorithm>

namespace quern::dsl {
namespace {

class SignatureChecker {
 public:
  SignatureChecker(Elaborator& el, const ast::Kernel& kernel, const Bindings& bindings)
      : el_(el), kernel_(kernel), bindings_(bindings) {}
  bool run();

 private:
  void annotations();
  void compile_time(const ast::CompileTime& ct);
  void sizes_of(const ast::Expr& e);
  void determine();
  std::optional<DType> element(const ast::Name& name);
  bool parameter(const ast::Parameter& p);
  bool scalar_default(const ast::Parameter& p);
  bool output(const ast::Output& out);
  bool shape(const ast::Type& type, std::vector<ir::Expr>& out);
  void unused_bindings();

  Elaborator& el_;
  const ast::Kernel& kernel_;
  const Bindings& bindings_;
  std::map<ir::SymbolId, Span> first_use_;  // run-time sizes
};

void SignatureChecker::annotations() {
  ir::Annotations& a = el_.program.annotations;
  for (const ast::Name& n : kernel_.annotations) {
    if (n.text == "precise")
      a.precise = true;
    else if (n.text == "fast")
      a.fast = true;
    else if (n.text == "tf32")
      a.tf32 = true;
    else if (n.text == "deterministic")
      a.deterministic = true;
    else if (n.text == "trusted")
      a.trusted = true;
    else if (n.text == "fused")
      a.fused = true;
    else
      el_.diagnostics.report<Code::unknown_annotation>(n.span, n.text);
  }
  el_.precise = a.precise;
  el_.trusted = a.trusted;
}

std::optional<DType> SignatureChecker::element(const ast::Name& name) {
  if (auto type = dtype_from_name(name.text)) return type;
  if (const Entry* entry = el_.find(name.text)) {
    if (const auto* t = std::get_if<TypeName>(&entry->meaning)) return t->type;
    if (std::holds_alternative<BrokenName>(entry->meaning)) return std::nullopt;
  }
  std::vector<std::string_view> known;
  for (int t = 0; t < kDTypeCount; ++t) known.push_back(quern::name(static_cast<DType>(t)));
  const std::string_view near = nearest(name.text, known);
  auto& d = el_.diagnostics.report<Code::unknown_type>(name.span, name.text);
  if (!near.empty())
    d.fix(fmt::format("did you mean '{}'?", near));
  else
    d.fix("use f64 f32 f16 bf16 e4m3 e5m2 i64 i32 i16 i8 u8 bool, or declare it in <...>: " + name.text + ": type");
  return std::nullopt;
}

void SignatureChecker::compile_time(const ast::CompileTime& ct) {
  Elaborator& el = el_;
  const std::string& name = ct.name.text;
  if (ct.kind == ast::CompileTimeKind::type) {
    DType type = DType::f32;
    if (auto it = bindings_.types.find(name); it != bindings_.types.end()) {
      type = it->second;
    } else if (ct.default_value) {
      const auto* use = std::get_if<ast::NameUse>(&ct.default_value->node);
      const auto given = use ? element({use->name, ct.default_value->span}) : std::nullopt;
      if (!use)
        el.diagnostics.report<Code::bad_default>(ct.default_value->span, name, "a type")
            .fix("write an element type such as f16");
      if (given) type = *given;
    }
    el.declare(ct.name, TypeName{type});
    return;
  }
  const bool flag = ct.kind == ast::CompileTimeKind::boolean;
  ir::Symbol symbol{name, flag ? DType::boolean : DType::i64, true, {}};
  if (ct.default_value) {
    const Typed value = el.expression(*ct.default_value);
    std::int64_t v = 0;
    if (value && (flag ? el.arith.type(value) == DType::boolean : el.arith.type(value) == DType::i64) &&
        el.pool.is_integer_constant(value.expr, &v))
      symbol.value = v;
    else if (value)
      el.diagnostics.report<Code::bad_default>(ct.default_value->span, name, flag ? "true or false" : "an integer")
          .fix(flag ? "write true or false" : "write an integer, or leave the default out");
  }
  if (auto it = bindings_.values.find(name); it != bindings_.values.end())
    symbol.value = flag ? it->second != 0 : it->second;
  const auto id = static_cast<ir::SymbolId>(el.program.symbols.size());
  if (el.declare(ct.name, SymbolName{id})) el.program.symbols.push_back(std::move(symbol));
}

// Declares the unknown names of an input's size as symbols.
void SignatureChecker::sizes_of(const ast::Expr& e) {
  if (!el_.spend(e.span)) return;
  if (const auto* use = std::get_if<ast::NameUse>(&e.node)) {
    if (el_.find(use->name) && !el_.find(use->name)->outside) return;
    if (use->name == "inf" || use->name == "nan" || use->name == "pi" || use->name == "true" || use->name == "false")
      return;
    for (const ast::Parameter& p : kernel_.parameters)
      if (p.name.text == use->name) return;  // reported as not a size where the shape is read
    ir::Symbol symbol{use->name, DType::i64, false, {}};
    if (auto it = bindings_.values.find(use->name); it != bindings_.values.end()) symbol.value = it->second;
    const auto id = static_cast<ir::SymbolId>(el_.program.symbols.size());
    el_.program.symbols.push_back(std::move(symbol));
    el_.declare({use->name, e.span}, SymbolName{id});
    first_use_[id] = e.span;
  } else if (const auto* u = std::get_if<ast::Unary>(&e.node)) {
    sizes_of(*u->operand);
  } else if (const auto* b = std::get_if<ast::Binary>(&e.node)) {
    sizes_of(*b->left);
    sizes_of(*b->right);
  }
}

bool SignatureChecker::shape(const ast::Type& type, std::vector<ir::Expr>& out) {
  for (const auto& size : type.shape) {
    if (!size) return false;
    const ir::Expr e = el_.size_expression(*size);
    if (!e) return false;
    if (auto v = el_.sizes.normal(e, Reading::values).as_constant(); v && *v < 0) {
      el_.diagnostics.report<Code::negative_size>(size->span, el_.source.slice(size->span), *v)
          .fix("sizes are 0 or more");
      return false;
    }
    out.push_back(e);
  }
  return true;
}

// Bare symbols are known; a product gives its one unknown; repeat until nothing changes.
void SignatureChecker::determine() {
  Elaborator& el = el_;
  std::set<ir::Expr> known;
  for (std::size_t s = 0; s < el.program.symbols.size(); ++s)
    if (el.program.symbols[s].compile_time || el.program.symbols[s].value)
      known.insert(el.pool.symbol(static_cast<ir::SymbolId>(s)));
  for (bool changed = true; changed;) {
    changed = false;
    for (const ir::Tensor& t : el.program.tensors) {
      if (t.role != ir::Role::input) continue;
      for (ir::Expr size : t.shape) {
        const NormalForm form = el.sizes.normal(size);
        if (form.overflow() || form.terms().size() != 1) continue;
        std::vector<ir::Expr> unknown;
        bool plain = true;
        for (ir::Expr a : form.terms().begin()->first) {
          plain = plain && el.pool[a].op == ir::Op::symbol;
          if (!known.contains(a)) unknown.push_back(a);
        }
        if (plain && unknown.size() == 1) changed = known.insert(unknown[0]).second || changed;
      }
    }
  }
  for (const auto& [id, span] : first_use_)
    if (!known.contains(el.pool.symbol(id)))
      el.diagnostics.report<Code::undetermined_size>(span, el.program.symbols[id].name)
          .label("no input has it alone or times known sizes")
          .fix(fmt::format("make it a compile-time name: <{}>", el.program.symbols[id].name));
}

bool SignatureChecker::parameter(const ast::Parameter& p) {
  Elaborator& el = el_;
  const auto type = element(p.type.element);
  if (!p.type.has_shape) {
    if (p.inout) {
      el.diagnostics.report<Code::inout_scalar>(p.name.span, p.name.text).fix("write the result to an output");
      return false;
    }
    if (!p.facts.empty()) {
      el.diagnostics.report<Code::fact_on_scalar>(p.facts[0].span, p.name.text)
          .fix("facts describe the entries of a tensor");
      return false;
    }
    if (!type) return false;
    if (!el.declare(p.name, ScalarName{static_cast<ir::ScalarId>(el.program.scalars.size())})) return false;
    el.program.scalar_parameters.push_back(static_cast<ir::ScalarId>(el.program.scalars.size()));
    el.program.scalars.push_back({p.name.text, *type, {}});
    el.program.parameter_order.push_back(p.name.text);
    return true;
  }
  if (p.default_value)
    el.diagnostics.report<Code::tensor_default>(p.default_value->span, p.name.text).fix("only scalars have defaults");
  ir::Tensor tensor;
  tensor.name = p.name.text;
  tensor.role = ir::Role::input;
  tensor.span = {p.span.begin, p.span.end};
  const bool shaped = shape(p.type, tensor.shape);
  if (!type || !shaped) return false;
  tensor.type = *type;
  for (const ast::Fact& fact : p.facts) {
    if (fact.nondecreasing) {
      if (tensor.shape.size() != 1)
        el.diagnostics.report<Code::nondecreasing_rank>(fact.span, p.name.text, tensor.shape.size())
            .fix("only a tensor with one axis can be nondecreasing");
      tensor.nondecreasing = true;
    } else if (fact.range) {
      if (!is_integer(*type)) {
        el.diagnostics.report<Code::fact_needs_integers>(fact.span, p.name.text, name(*type))
            .fix("give it an integer type");
        return false;
      }
      if (!el.range(*fact.range, tensor.fact_begin, tensor.fact_end)) return false;
    }
  }
  const ir::TensorId id = el.program.add_tensor(tensor);
  if (!el.declare(p.name, TensorName{id, true})) return false;
  el.program.parameters.push_back(id);
  el.program.parameter_order.push_back(p.name.text);
  if (p.inout) {
    ir::Tensor fresh = tensor;
    fresh.role = ir::Role::output;
    fresh.entry = id;
    fresh.fact_begin = fresh.fact_end = {};
    fresh.nondecreasing = false;
    el.new_values[id] = el.program.add_tensor(std::move(fresh));
  }
  return true;
}

bool SignatureChecker::scalar_default(const ast::Parameter& p) {
  if (p.type.has_shape || !p.default_value) return true;
  Elaborator& el = el_;
  const Entry* entry = el.find(p.name.text);
  const auto* s = entry ? std::get_if<ScalarName>(&entry->meaning) : nullptr;
  if (!s) return true;
  const Typed value = el.expression(*p.default_value);
  if (!value) return false;
  ir::Scalar& scalar = el.program.scalars[s->scalar];
  std::set<ir::Expr> seen;
  std::vector<ir::Expr> open{value.expr};
  while (!open.empty()) {
    const ir::Expr e = open.back();
    open.pop_back();
    if (!seen.insert(e).second) continue;
    const ir::Node& n = el.pool[e];
    const bool earlier = n.op == ir::Op::scalar && static_cast<ir::ScalarId>(n.payload) < s->scalar;
    if (!earlier && !ir::is_elementwise(n.op) && n.op != ir::Op::constant && n.op != ir::Op::symbol &&
        n.op != ir::Op::cast) {
      el.diagnostics
          .report<Code::bad_default>(p.default_value->span, p.name.text,
                                     "built of sizes, compile-time values and earlier scalars")
          .fix("pass it from the caller instead");
      return false;
    }
    open.insert(open.end(), n.args.begin(), n.args.end());
  }
  const bool narrows = is_float(el.arith.type(value)) && !is_float(scalar.type);
  const bool to_bool = scalar.type == DType::boolean && el.arith.type(value) != DType::boolean;
  if (narrows || to_bool) {
    el.diagnostics
        .report<Code::bad_default>(p.default_value->span, p.name.text,
                                   fmt::format("a value of type {}", name(scalar.type)))
        .fix(fmt::format("cast it: {}(...)", name(scalar.type)));
    return false;
  }
  scalar.default_value = el.arith.cast(value, scalar.type);
  return true;
}

bool SignatureChecker::output(const ast::Output& out) {
  Elaborator& el = el_;
  ir::Tensor tensor;
  tensor.name = out.name.text;
  tensor.role = ir::Role::output;
  tensor.span = {out.span.begin, out.span.end};
  const auto type = element(out.type.element);
  if (!shape(out.type, tensor.shape) || !type) {
    el.give_up(out.name);
    return true;
  }
  tensor.type = *type;
  const std::vector<ir::Expr> extents = tensor.shape;
  const ir::TensorId id = el.program.add_tensor(std::move(tensor));
  if (!el.declare(out.name, TensorName{id, false})) return true;
  el.program.outputs.push_back(id);
  for (ir::Expr e : extents) el.require(el.pool.apply(ir::Op::le, {el.pool.integer(0), e}), out.span);
  return true;
}

void SignatureChecker::unused_bindings() {
  auto known = [&](const std::string& name, bool type) {
    const Entry* entry = el_.find(name);
    return entry && (type ? std::holds_alternative<TypeName>(entry->meaning)
                          : std::holds_alternative<SymbolName>(entry->meaning));
  };
  for (const auto& [name, value] : bindings_.values)
    if (!known(name, false))
      el_.diagnostics.report<Code::unknown_binding>(kernel_.name.span, kernel_.name.text, name)
          .fix("bind a compile-time name or a size of an input");
  for (const auto& [name, value] : bindings_.types)
    if (!known(name, true))
      el_.diagnostics.report<Code::unknown_binding>(kernel_.name.span, kernel_.name.text, name)
          .fix("bind a type that stands in <...>");
}

bool SignatureChecker::run() {
  const std::size_t errors = el_.diagnostics.error_count();
  el_.program.name = kernel_.name.text;
  annotations();
  for (const auto& ct : kernel_.compile_time) compile_time(ct);
  for (const auto& p : kernel_.parameters)
    for (const auto& size : p.type.shape)
      if (size) sizes_of(*size);
  bool good = true;
  for (const auto& p : kernel_.parameters)
    if (!parameter(p)) {
      good = false;
      if (!el_.find(p.name.text)) el_.declare(p.name, BrokenName{});
    }
  for (const auto& p : kernel_.parameters) scalar_default(p);
  if (good) determine();
  unused_bindings();
  for (const auto& [name, value] : bindings_.values)
    if (const Entry* entry = el_.find(name))
      if (const auto* s = std::get_if<SymbolName>(&entry->meaning); s && value < 0 && first_use_.contains(s->symbol))
        el_.diagnostics.report<Code::negative_size>(kernel_.name.span, name, value).fix("sizes are 0 or more");
  for (const auto& out : kernel_.outputs) output(out);
  const bool writes = !kernel_.outputs.empty() || std::any_of(kernel_.parameters.begin(), kernel_.parameters.end(),
                                                              [](const auto& p) { return p.inout; });
  if (!writes) {
    el_.diagnostics.report<Code::no_outputs>(kernel_.name.span, kernel_.name.text)
        .fix("declare what it computes: -> (y: f32[N])");
    return false;
  }
  return el_.diagnostics.error_count() == errors;
}

}  // namespace

bool check_signature(Elaborator& el, const ast::Kernel& kernel, const Bindings& bindings) {
  return SignatureChecker(el, kernel, bindings).run();
}

}  // namespace quern::dsl
