// One walk over every equation. A node is looked at once per (node, inside a scan); scopes need no stack because free
// indices are known per node: a binder's axis must not be free outside, an equation's body must have none but its own.
#include "dsl/ir/verify_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace quern::ir {
namespace {

class Verifier {
 public:
  explicit Verifier(const Program& program) : p_(program), pool_(program.pool) {}
  std::vector<std::string> run();

 private:
  const Program& p_;
  const ExprPool& pool_;
  std::vector<std::string> messages_;
  std::string place_;
  std::set<std::pair<std::uint32_t, bool>> seen_;
  std::vector<bool> defined_;

  template <class... Args>
  void say(fmt::format_string<Args...> form, Args&&... args) {
    messages_.push_back(place_ + ": " + fmt::format(form, std::forward<Args>(args)...));
  }
  bool exists(Expr e) const { return e && e.id < pool_.size(); }
  void expr(Expr e, bool in_scan);
  void form(const Node& n, bool in_scan);
  void elementwise(const Node& n);
  void read(const Node& n);
  void size(Expr e, std::string_view what);
  void equation(const Equation& eq);
  std::string index_name(IndexId i) const { return i < p_.indices.size() ? p_.indices[i].name : fmt::format("#{}", i); }
};

void Verifier::size(Expr e, std::string_view what) {
  if (!exists(e)) return say("{} is missing", what);
  if (pool_.type(e) != DType::i64) say("{} has type {}, not i64", what, name(pool_.type(e)));
  if (!pool_.free_indices(e).empty()) say("{} depends on an index", what);
  expr(e, false);
}

void Verifier::elementwise(const Node& n) {
  const OperatorInfo& row = info(n.op);
  if (static_cast<int>(n.args.size()) != row.arity)
    return say("{} has {} operands, not {}", name(n.op), n.args.size(), row.arity);
  const std::size_t first = n.op == Op::where ? 1 : 0;
  const DType operand = pool_.type(n.args[first]);
  for (std::size_t i = first + 1; i < n.args.size(); ++i)
    if (pool_.type(n.args[i]) != operand)
      say("operands of {} have types {} and {}", name(n.op), name(operand), name(pool_.type(n.args[i])));
  if (first == 1 && pool_.type(n.args[0]) != DType::boolean)
    say("the condition of where has type {}", name(pool_.type(n.args[0])));
  if (is_small_float(operand)) say("{} computes in the storage type {}", name(n.op), name(operand));
  auto expect = [&](DType type) {
    if (n.type != type) say("{} of {} has type {}, not {}", name(n.op), name(operand), name(n.type), name(type));
  };
  switch (row.rule) {
    case TypeRule::Same:
    case TypeRule::Choose:
      expect(operand);
      break;
    case TypeRule::Real:
      if (!is_float(operand)) say("{} of {}: the operand must be a float", name(n.op), name(operand));
      expect(operand);
      break;
    case TypeRule::Integer:
      if (!is_integer(operand)) say("{} of {}: the operand must be an integer", name(n.op), name(operand));
      expect(operand);
      break;
    case TypeRule::Compare:
      expect(DType::boolean);
      break;
    case TypeRule::Logic:
      if (operand != DType::boolean) say("{} of {}: the operand must be bool", name(n.op), name(operand));
      expect(DType::boolean);
      break;
    case TypeRule::Test:
      if (!is_float(operand)) say("{} of {}: the operand must be a float", name(n.op), name(operand));
      expect(DType::boolean);
      break;
  }
}

void Verifier::read(const Node& n) {
  const auto id = static_cast<TensorId>(n.payload);
  if (n.payload < 0 || id >= p_.tensors.size()) return say("read of tensor #{}, which does not exist", n.payload);
  const Tensor& t = p_.tensors[id];
  if (t.type != n.type) say("read of '{}' has type {}, the tensor {}", t.name, name(n.type), name(t.type));
  if (t.shape.size() != n.args.size())
    say("read of '{}' has {} subscripts, the tensor {} axes", t.name, n.args.size(), t.shape.size());
  for (Expr s : n.args)
    if (exists(s) && pool_.type(s) != DType::i64)
      say("a subscript of '{}' has type {}, not i64", t.name, name(pool_.type(s)));
  if (!defined_[id]) say("'{}' is read before it is defined", t.name);
}

void Verifier::form(const Node& n, bool in_scan) {
  const bool topk = n.op == Op::topk_value || n.op == Op::topk_position;
  const std::size_t want = n.op == Op::scan ? 3 : 2;
  if (n.args.size() != want) return say("{} has {} arguments, not {}", name(n.op), n.args.size(), want);
  if (topk ? n.axes.size() != 2 : n.op == Op::reduce ? n.axes.empty() : n.axes.size() != 1)
    return say("{} has {} axes", name(n.op), n.axes.size());
  if (in_scan && n.op == Op::scan) say("a scan inside a scan's body");
  if (exists(n.args[1]) && pool_.type(n.args[1]) != DType::boolean)
    say("the domain of {} has type {}", name(n.op), name(pool_.type(n.args[1])));
  if (is_small_float(n.type) && n.op != Op::topk_value && n.op != Op::map && n.op != Op::reduce)
    say("{} has the storage type {}", name(n.op), name(n.type));
  if (n.op == Op::scan && exists(n.args[0]) && exists(n.args[2]) &&
      (pool_.type(n.args[0]) != n.type || pool_.type(n.args[2]) != n.type))
    say("scan of type {} has a body of {} and an init of {}", name(n.type), name(pool_.type(n.args[0])),
        name(pool_.type(n.args[2])));
  if (n.op == Op::scan && exists(n.args[2]) && pool_.depends_on(n.args[2], n.axes[0]))
    say("the init of a scan depends on its axis");
  if (topk && pool_.depends_on(n.args[0], n.axes[1]))
    say("the body of topk depends on its new axis '{}'", index_name(n.axes[1]));
  for (IndexId a : n.axes) {
    if (a >= p_.indices.size()) return say("{} binds index #{}, which does not exist", name(n.op), a);
    size(p_.indices[a].begin, "the begin of index '" + p_.indices[a].name + "'");
    size(p_.indices[a].end, "the end of index '" + p_.indices[a].name + "'");
  }
  if (n.op == Op::reduce)
    for (std::size_t i = 1; i < n.axes.size(); ++i)
      if (std::find(n.axes.begin(), n.axes.begin() + static_cast<std::ptrdiff_t>(i), n.axes[i]) !=
          n.axes.begin() + static_cast<std::ptrdiff_t>(i))
        say("{} binds '{}' twice", name(n.op), index_name(n.axes[i]));
}

void Verifier::expr(Expr e, bool in_scan) {
  if (!exists(e)) return say("an expression is missing");
  if (!seen_.insert({e.id, in_scan}).second) return;
  const Node& n = pool_[e];
  for (Expr a : n.args)
    if (!exists(a)) return say("{} has a missing operand", name(n.op));
  switch (n.op) {
    case Op::constant:
      break;
    case Op::index:
      if (n.payload < 0 || static_cast<std::size_t>(n.payload) >= p_.indices.size())
        say("index #{} does not exist", n.payload);
      if (n.type != DType::i64) say("an index has type {}", name(n.type));
      break;
    case Op::symbol:
      if (n.payload < 0 || static_cast<std::size_t>(n.payload) >= p_.symbols.size())
        return say("symbol #{} does not exist", n.payload);
      if (n.type != p_.symbols[static_cast<SymbolId>(n.payload)].type)
        say("symbol '{}' has type {}", p_.symbols[static_cast<SymbolId>(n.payload)].name, name(n.type));
      break;
    case Op::scalar:
      if (n.payload < 0 || static_cast<std::size_t>(n.payload) >= p_.scalars.size())
        return say("scalar #{} does not exist", n.payload);
      if (n.type != p_.scalars[static_cast<ScalarId>(n.payload)].type)
        say("scalar '{}' has type {}", p_.scalars[static_cast<ScalarId>(n.payload)].name, name(n.type));
      break;
    case Op::previous:
      if (!in_scan) say("prev outside the body of a scan");
      break;
    case Op::accumulator:
      say("an accumulator in the index IR");
      break;
    case Op::read:
      read(n);
      break;
    case Op::cast:
      if (n.args.size() != 1) return say("cast has {} operands", n.args.size());
      if ((n.flags & kAllowed) && !is_small_float(n.type)) say("a permitted rounding to {}", name(n.type));
      break;
    case Op::reduce:
    case Op::map:
    case Op::scan:
    case Op::topk_value:
    case Op::topk_position:
      form(n, in_scan);
      break;
    default:
      elementwise(n);
      break;
  }
  for (std::size_t i = 0; i < n.args.size(); ++i) expr(n.args[i], n.op == Op::scan ? i == 0 : in_scan);
  // A reduce hides its axes: binding them again below would hide the outer one.
  if (n.op == Op::reduce || n.op == Op::topk_value || n.op == Op::topk_position) {
    for (Expr a : n.args) {
      if (pool_[a].op != Op::reduce) continue;
      for (IndexId x : pool_[a].axes)
        if (std::find(n.axes.begin(), n.axes.end(), x) != n.axes.end())
          say("'{}' is bound again inside its own body", index_name(x));
    }
  }
}

void Verifier::equation(const Equation& eq) {
  const bool topk = exists(eq.body) && pool_[eq.body].op == Op::topk_value;
  if (eq.targets.empty() || eq.targets.size() > 2) return say("{} targets", eq.targets.size());
  if (eq.targets.size() == 2 && !topk) say("two targets, and the body is not a topk");
  for (TensorId t : eq.targets)
    if (t >= p_.tensors.size()) return say("target #{} does not exist", t);
  for (TensorId t : eq.targets) {
    const Tensor& target = p_.tensors[t];
    if (target.role == Role::input) say("'{}' is an input and is assigned", target.name);
    if (target.role == Role::scratch) say("'{}' is a tile in the index IR", target.name);
    if (defined_[t]) say("'{}' is assigned twice", target.name);
    if (target.shape.size() != eq.subscripts.size())
      say("target '{}' has {} subscripts and {} axes", target.name, eq.subscripts.size(), target.shape.size());
    if (eq.op != AssignOp::set && !target.entry) say("scatter into '{}', which has no entry values", target.name);
    if (is_small_float(target.type) && target.role == Role::temp)
      say("the intermediate '{}' has the storage type {}", target.name, name(target.type));
  }
  auto bound = [&](IndexId i) { return std::find(eq.indices.begin(), eq.indices.end(), i) != eq.indices.end(); };
  for (IndexId i : eq.indices) {
    if (i >= p_.indices.size()) return say("index #{} does not exist", i);
    size(p_.indices[i].begin, "the begin of index '" + p_.indices[i].name + "'");
    size(p_.indices[i].end, "the end of index '" + p_.indices[i].name + "'");
  }
  std::set<IndexId> in_subscripts;
  for (Expr s : eq.subscripts) {
    expr(s, false);
    if (!exists(s)) continue;
    if (pool_.type(s) != DType::i64) say("a subscript of the target has type {}", name(pool_.type(s)));
    for (IndexId i : pool_.free_indices(s)) {
      in_subscripts.insert(i);
      if (!bound(i)) say("index '{}' of the target is not bound", index_name(i));
    }
  }
  expr(eq.body, false);
  if (!exists(eq.body)) return;
  for (IndexId i : pool_.free_indices(eq.body))
    if (!bound(i)) say("index '{}' is free in the body and not on the left", index_name(i));
  if (eq.op == AssignOp::set)
    for (IndexId i : eq.indices)
      if (!in_subscripts.contains(i)) say("index '{}' runs but does not stand in the target", index_name(i));
}

std::vector<std::string> Verifier::run() {
  defined_.assign(p_.tensors.size(), false);
  for (TensorId t : p_.parameters)
    if (t < p_.tensors.size()) defined_[t] = true;
  place_ = "signature";
  for (const Tensor& t : p_.tensors)
    for (Expr e : t.shape) size(e, "an extent of '" + t.name + "'");
  for (TensorId t : p_.parameters) {
    if (t >= p_.tensors.size())
      say("parameter #{} does not exist", t);
    else if (p_.tensors[t].role != Role::input)
      say("parameter '{}' is not an input", p_.tensors[t].name);
  }
  for (const Requirement& r : p_.requirements) {
    expr(r.condition, false);
    if (exists(r.condition) && pool_.type(r.condition) != DType::boolean)
      say("a requirement has type {}", name(pool_.type(r.condition)));
  }
  for (std::size_t k = 0; k < p_.equations.size(); ++k) {
    const Equation& eq = p_.equations[k];
    place_ = fmt::format("equation {}", k);
    if (!eq.targets.empty() && eq.targets[0] < p_.tensors.size())
      place_ += fmt::format(" ('{}')", p_.tensors[eq.targets[0]].name);
    seen_.clear();
    equation(eq);
    for (TensorId t : eq.targets)
      if (t < defined_.size()) defined_[t] = true;
  }
  place_ = "program";
  for (TensorId t : p_.outputs)
    if (t >= defined_.size() || !defined_[t])
      say("output '{}' is not defined", t < p_.tensors.size() ? p_.tensors[t].name : "?");
  return std::move(messages_);
}

}  // namespace

std::vector<std::string> verify_program(const Program& program) { return Verifier(program).run(); }

}  // namespace quern::ir
