// See canonical_form.h.
#include "compiler/passes/canonical_form.h"

#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace quern::compiler {
namespace {

using ir::Expr;
using ir::IndexId;
using ir::Node;
using ir::Op;
using ir::Program;
using ir::TensorId;

/// Calls `visit(tensor)` for every read below `e`, in order, once for each node.
template <class F>
void each_read(const Program& p, Expr e, std::unordered_set<std::uint32_t>& seen, const F& visit) {
  if (!e || !seen.insert(e.id).second) return;
  const Node& node = p.pool[e];
  if (node.op == Op::read) visit(static_cast<TensorId>(node.payload));
  for (Expr a : node.args) each_read(p, a, seen, visit);
  for (IndexId axis : node.axes) {
    each_read(p, p.indices[axis].begin, seen, visit);
    each_read(p, p.indices[axis].end, seen, visit);
  }
}

std::vector<TensorId> reads_of(const Program& p, const ir::Equation& equation) {
  std::vector<TensorId> reads;
  std::unordered_set<std::uint32_t> seen;
  const auto add = [&](TensorId t) { reads.push_back(t); };
  for (IndexId i : equation.indices) {
    each_read(p, p.indices[i].begin, seen, add);
    each_read(p, p.indices[i].end, seen, add);
  }
  for (Expr s : equation.subscripts) each_read(p, s, seen, add);
  each_read(p, equation.body, seen, add);
  return reads;
}

/// The tensors that callers know, in the order of the signature: parameters, outputs, new values of inout parameters.
std::vector<TensorId> signature_tensors(const Program& p) {
  std::vector<TensorId> list = p.parameters;
  list.insert(list.end(), p.outputs.begin(), p.outputs.end());
  for (TensorId parameter : p.parameters)
    for (TensorId t = 0; t < p.tensors.size(); ++t)
      if (p.tensors[t].entry == parameter) list.push_back(t);
  return list;
}

/// Equations by their numbers, each after what it reads, as outputs need them. Nothing where a tensor is read before its last
/// equation: then the order that was written is kept.
std::optional<std::vector<std::size_t>> order_of(const Program& p) {
  std::map<TensorId, std::vector<std::size_t>> writers;
  std::vector<std::vector<TensorId>> reads;
  for (std::size_t e = 0; e < p.equations.size(); ++e) {
    reads.push_back(reads_of(p, p.equations[e]));
    for (TensorId t : p.equations[e].targets) writers[t].push_back(e);
  }
  for (std::size_t e = 0; e < p.equations.size(); ++e)
    for (TensorId t : reads[e])
      if (const auto w = writers.find(t); w != writers.end() && w->second.back() >= e) return std::nullopt;
  std::vector<std::size_t> order;
  std::vector<bool> placed(p.equations.size());
  const auto place = [&](const auto& self, TensorId tensor) -> void {
    const auto w = writers.find(tensor);
    if (w == writers.end()) return;
    for (std::size_t e : w->second) {
      if (placed[e]) continue;
      placed[e] = true;
      for (TensorId t : reads[e]) self(self, t);
      // Scatters of one tensor stay in order: those before this one come first, also of its other targets.
      for (TensorId t : p.equations[e].targets)
        for (std::size_t before : writers.at(t)) {
          if (before >= e) break;
          if (!placed[before]) self(self, t);
        }
      order.push_back(e);
    }
  };
  for (TensorId t : signature_tensors(p)) place(place, t);
  return order;
}

/// Copies expressions into a program of its own, numbering tensors and indices as they come.
class Copy {
 public:
  explicit Copy(const Program& from) : from_(from) {}

  Program run() {
    out_.name = from_.name;
    out_.annotations = from_.annotations;
    out_.symbols = from_.symbols;
    for (const ir::Scalar& s : from_.scalars) out_.scalars.push_back({s.name, s.type, expr(s.default_value)});
    out_.scalar_parameters = from_.scalar_parameters;
    out_.parameter_order = from_.parameter_order;
    for (TensorId t : signature_tensors(from_)) tensor(t);
    for (TensorId t : from_.parameters) out_.parameters.push_back(tensor(t));
    for (TensorId t : from_.outputs) out_.outputs.push_back(tensor(t));
    for (const ir::Requirement& r : from_.requirements) out_.requirements.push_back({expr(r.condition), r.span});
    const auto order = order_of(from_);
    for (std::size_t k = 0; k < (order ? order->size() : from_.equations.size()); ++k) equation(from_.equations[order ? (*order)[k] : k]);
    return std::move(out_);
  }

 private:
  TensorId tensor(TensorId id) {
    if (const auto found = tensors_.find(id); found != tensors_.end()) return found->second;
    const TensorId fresh = out_.add_tensor(from_.tensors[id]);
    tensors_.emplace(id, fresh);
    // Not through a reference into the list: shapes may name further tensors.
    ir::Tensor made = from_.tensors[id];
    if (made.entry) made.entry = tensor(*made.entry);
    for (Expr& e : made.shape) e = expr(e);
    made.fact_begin = expr(made.fact_begin);
    made.fact_end = expr(made.fact_end);
    out_.tensors[fresh] = std::move(made);
    return fresh;
  }

  IndexId index(IndexId id) {
    if (const auto found = indices_.find(id); found != indices_.end()) return found->second;
    const Expr begin = expr(from_.indices[id].begin), end = expr(from_.indices[id].end);
    const IndexId fresh = out_.add_index(from_.indices[id].name, begin, end);
    indices_.emplace(id, fresh);
    return fresh;
  }

  Expr expr(Expr e) {
    if (!e) return e;
    if (const auto found = exprs_.find(e.id); found != exprs_.end()) return found->second;
    Node node = from_.pool[e];
    if (node.op == Op::index) node.payload = index(static_cast<IndexId>(node.payload));
    if (node.op == Op::read) node.payload = tensor(static_cast<TensorId>(node.payload));
    for (IndexId& axis : node.axes) axis = index(axis);
    for (Expr& a : node.args) a = expr(a);
    const Expr fresh = out_.pool.intern(std::move(node));
    exprs_.emplace(e.id, fresh);
    return fresh;
  }

  void equation(const ir::Equation& e) {
    ir::Equation made = e;
    for (TensorId& t : made.targets) t = tensor(t);
    for (IndexId& i : made.indices) i = index(i);
    for (Expr& s : made.subscripts) s = expr(s);
    made.body = expr(made.body);
    out_.equations.push_back(std::move(made));
  }

  const Program& from_;
  Program out_;
  std::unordered_map<TensorId, TensorId> tensors_;
  std::unordered_map<IndexId, IndexId> indices_;
  std::unordered_map<std::uint32_t, Expr> exprs_;
};

/// Numbers as text, one list after the other.
class Text {
 public:
  template <class... N>
  void line(char kind, N... numbers) {
    text_ += kind;
    (number(static_cast<std::int64_t>(numbers)), ...);
  }
  void number(std::int64_t n) {
    text_ += ' ';
    text_ += std::to_string(n);
  }
  template <class List>
  void list(const List& numbers) {
    number(static_cast<std::int64_t>(numbers.size()));
    for (const auto& n : numbers) {
      if constexpr (requires { n.id; }) number(n.id);
      else number(n);
    }
  }
  void end() { text_ += '\n'; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

Program canonical_form(const Program& program) { return Copy(program).run(); }

std::string signature_text(const Program& p) {
  Text text;
  const ir::Annotations& a = p.annotations;
  text.line('a', a.precise, a.fast, a.tf32, a.deterministic, a.trusted, a.fused), text.end();
  std::unordered_set<std::int64_t> used;
  for (std::uint32_t id = 1; id < p.pool.size(); ++id)
    if (p.pool[Expr{id}].op == Op::symbol) used.insert(p.pool[Expr{id}].payload);
  // Symbols count where an expression names them: passes put the values of compile-time ones in.
  for (std::size_t s = 0; s < p.symbols.size(); ++s) {
    if (!used.contains(static_cast<std::int64_t>(s))) continue;
    text.line('s', s, static_cast<int>(p.symbols[s].type), p.symbols[s].value.has_value(), p.symbols[s].value.value_or(0)), text.end();
  }
  for (const ir::Scalar& s : p.scalars) text.line('c', static_cast<int>(s.type)), text.end();
  for (const ir::Tensor& t : p.tensors) {
    text.line('t', static_cast<int>(t.type), static_cast<int>(t.role), t.entry ? static_cast<std::int64_t>(*t.entry) : -1, t.fact_begin.id, t.fact_end.id, t.nondecreasing);
    text.list(t.shape), text.end();
  }
  text.line('p'), text.list(p.parameters), text.list(p.outputs), text.list(p.scalar_parameters), text.end();
  for (const ir::Requirement& r : p.requirements) text.line('r', r.condition.id), text.end();
  for (const ir::Index& i : p.indices) text.line('i', i.begin.id, i.end.id), text.end();
  for (std::uint32_t id = 1; id < p.pool.size(); ++id) {
    const Node& n = p.pool[Expr{id}];
    text.line('n', static_cast<int>(n.op), static_cast<int>(n.type), n.flags, n.payload);
    text.list(n.args), text.list(n.axes), text.end();
  }
  for (const ir::Equation& e : p.equations) {
    text.line('e', static_cast<int>(e.op), e.checked, e.body.id);
    text.list(e.targets), text.list(e.indices), text.list(e.subscripts), text.end();
  }
  return text.take();
}

}  // namespace quern::compiler
