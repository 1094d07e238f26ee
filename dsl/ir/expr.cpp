// Interning, construction with light folding, free indices and rewriting of scalar expressions.
#include "dsl/ir/expr.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "dsl/ir/operators.h"

namespace quern::ir {
namespace {

bool computes(DType type) { return !is_small_float(type); }

[[noreturn]] void broken(std::string_view what) { throw std::logic_error("quern internal error: " + std::string(what)); }

}  // namespace

std::size_t ExprPool::Hash::operator()(const Node& n) const {
  std::uint64_t h = (std::uint64_t(n.op) << 16) ^ (std::uint64_t(n.type) << 8) ^ n.flags;
  auto mix = [&h](std::uint64_t v) {
    h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 32;
  };
  mix(static_cast<std::uint64_t>(n.payload));
  for (Expr a : n.args) mix(a.id);
  for (IndexId a : n.axes) mix(a + 0x10000u);
  return h;
}

ExprPool::ExprPool() {
  nodes_.emplace_back();  // id 0 is "none"
  free_.emplace_back();
}

std::vector<IndexId> ExprPool::compute_free(const Node& node) const {
  std::vector<IndexId> out;
  if (node.op == Op::index) out.push_back(static_cast<IndexId>(node.payload));
  for (std::size_t i = 0; i < node.args.size(); ++i)
    out.insert(out.end(), free_[node.args[i].id].begin(), free_[node.args[i].id].end());
  auto drop = [&](IndexId axis) { std::erase(out, axis); };
  switch (node.op) {
    case Op::reduce: for (IndexId a : node.axes) drop(a); break;
    case Op::map: case Op::scan: out.push_back(node.axes[0]); break;
    case Op::topk_value: case Op::topk_position: drop(node.axes[0]); out.push_back(node.axes[1]); break;
    default: break;
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Expr ExprPool::intern(Node node) {
  const std::size_t h = Hash{}(node);
  auto [from, to] = table_.equal_range(h);
  for (auto it = from; it != to; ++it)
    if (nodes_[it->second] == node) return Expr{it->second};
  const auto id = static_cast<std::uint32_t>(nodes_.size());
  free_.push_back(compute_free(node));
  nodes_.push_back(std::move(node));
  table_.emplace(h, id);
  return Expr{id};
}

Expr ExprPool::real(double value, DType type) {
  if (!is_float(type)) broken("real constant of a type that is not a float");
  const double kept = type == DType::f64 ? value : rounded_to(type, value);
  return intern({Op::constant, type, 0, std::bit_cast<std::int64_t>(kept), {}, {}});
}
Expr ExprPool::integer(std::int64_t value, DType type) {
  if (is_float(type)) broken("integer constant of a float type");
  return intern({Op::constant, type, 0, type == DType::boolean ? value != 0 : wrapped_to(type, value), {}, {}});
}
Expr ExprPool::index(IndexId id) { return intern({Op::index, DType::i64, 0, id, {}, {}}); }
Expr ExprPool::symbol(SymbolId id, DType type) { return intern({Op::symbol, type, 0, id, {}, {}}); }
Expr ExprPool::scalar(ScalarId id, DType type) { return intern({Op::scalar, type, 0, id, {}, {}}); }
Expr ExprPool::previous(DType type) { return intern({Op::previous, type, 0, 0, {}, {}}); }
Expr ExprPool::accumulator(DType type, int which) { return intern({Op::accumulator, type, 0, which, {}, {}}); }

Expr ExprPool::read(TensorId tensor, DType type, std::vector<Expr> subscripts, bool checked) {
  return intern({Op::read, type, checked ? kChecked : std::uint8_t{0}, tensor, std::move(subscripts), {}});
}

Expr ExprPool::cast(Expr e, DType type, std::uint8_t flags) {
  const Node& n = nodes_[e.id];
  if (n.type == type) return e;
  if (n.op == Op::constant) {
    if (is_float(n.type)) {
      const double v = std::bit_cast<double>(n.payload);
      if (is_float(type)) return real(v, type);
      if (type == DType::boolean) return boolean(v != 0);
      alignas(8) unsigned char at[8] = {};
      store_from_f64(type, at, v);
      return integer(load_as_i64(type, at), type);
    }
    if (is_float(type)) return real(static_cast<double>(n.payload), type);
    return integer(n.payload, type);
  }
  return intern({Op::cast, type, flags, 0, {e}, {}});
}

Expr ExprPool::apply(Op op, std::span<const Expr> given) {
  if (!is_elementwise(op)) broken("apply: not an elementwise operator");
  const OperatorInfo& row = info(op);
  if (static_cast<int>(given.size()) != row.arity) broken("apply: wrong number of operands for " + std::string(row.name));
  std::vector<Expr> args(given.begin(), given.end());
  const std::size_t first = op == Op::where ? 1 : 0;
  for (std::size_t i = first; i < args.size(); ++i) {
    if (is_small_float(type(args[i]))) args[i] = cast(args[i], DType::f32);
    if (row.rule == TypeRule::Real && !is_float(type(args[i]))) args[i] = cast(args[i], DType::f32);
  }
  for (std::size_t i = first + 1; i < args.size(); ++i)
    if (type(args[i]) != type(args[first]))
      broken("apply: operands of " + std::string(row.name) + " have types " + std::string(quern::name(type(args[first]))) +
             " and " + std::string(quern::name(type(args[i]))));
  const DType operand = type(args[first]);
  DType result = operand;
  if (row.rule == TypeRule::Compare || row.rule == TypeRule::Logic || row.rule == TypeRule::Test) result = DType::boolean;
  if (row.rule == TypeRule::Logic && operand != DType::boolean) broken("apply: logic on a type that is not bool");
  if (op == Op::where && type(args[0]) != DType::boolean) broken("apply: the condition of where is not bool");

  std::int64_t a = 0, b = 0;
  const bool ca = is_integer_constant(args[0], &a);
  const bool cb = args.size() > 1 && is_integer_constant(args[1], &b);
  if (op == Op::where) {
    if (ca) return a ? args[1] : args[2];
    if (args[1] == args[2]) return args[1];
    // The same question asked again inside a branch is decided there.
    if (const Node& n = nodes_[args[1].id]; n.op == Op::where && n.args[0] == args[0]) return apply(op, {args[0], n.args[1], args[2]});
    if (const Node& n = nodes_[args[2].id]; n.op == Op::where && n.args[0] == args[0]) return apply(op, {args[0], args[1], n.args[2]});
  } else if (ca && (args.size() == 1 || cb)) {
    std::vector<std::int64_t> values{a};
    if (args.size() > 1) values.push_back(b);
    std::int64_t c = 0;
    bool all = true;
    if (args.size() > 2) { all = is_integer_constant(args[2], &c); values.push_back(c); }
    if (all)
      if (auto v = fold_integer(op, values, result)) return integer(*v, result);
  }
  const bool integer_type = !is_float(operand);
  double x = 0, y = 0;
  if (is_real_constant(args[0], &x) && (args.size() == 1 || (args.size() == 2 && is_real_constant(args[1], &y)))) {
    // One rounding: an f64 result of f32 operands rounds to the same f32.
    if (op == Op::neg) return real(-x, operand);
    if (op == Op::add) return real(x + y, operand);
    if (op == Op::sub) return real(x - y, operand);
    if (op == Op::mul) return real(x * y, operand);
    if (op == Op::div) return real(x / y, operand);
  }
  switch (op) {
    case Op::add:
      if (integer_type && ca && a == 0) return args[1];
      if (integer_type && cb && b == 0) return args[0];
      break;
    case Op::sub:
      if (integer_type && cb && b == 0) return args[0];
      if (integer_type && args[0] == args[1]) return integer(0, operand);
      break;
    case Op::mul: {
      if (integer_type && ((ca && a == 0) || (cb && b == 0))) return integer(0, operand);
      if (integer_type && ca && a == 1) return args[1];
      if (integer_type && cb && b == 1) return args[0];
      double v = 0;
      if (is_real_constant(args[0], &v) && v == 1) return args[1];
      if (is_real_constant(args[1], &v) && v == 1) return args[0];
      break;
    }
    case Op::div: {
      double v = 0;
      if (is_real_constant(args[1], &v) && v == 1) return args[0];
      break;
    }
    case Op::floordiv: if (cb && b == 1) return args[0]; break;
    case Op::mod: if (cb && b == 1) return integer(0, operand); break;
    case Op::min: case Op::max: if (args[0] == args[1]) return args[0]; break;
    case Op::not_:
      if (nodes_[args[0].id].op == Op::not_) return nodes_[args[0].id].args[0];
      break;
    case Op::and_:
      if (ca) return a ? args[1] : args[0];
      if (cb) return b ? args[0] : args[1];
      if (args[0] == args[1]) return args[0];
      break;
    case Op::or_:
      if (ca) return a ? args[0] : args[1];
      if (cb) return b ? args[1] : args[0];
      if (args[0] == args[1]) return args[0];
      break;
    case Op::eq: case Op::le: case Op::ge: if (integer_type && args[0] == args[1]) return boolean(true); break;
    case Op::ne: case Op::lt: case Op::gt: if (integer_type && args[0] == args[1]) return boolean(false); break;
    default: break;
  }
  if (!computes(result)) broken("apply: arithmetic in a storage type");
  return intern({op, result, 0, 0, std::move(args), {}});
}

Expr ExprPool::reduce(Reducer reducer, std::vector<IndexId> axes, Expr body, Expr domain, DType type) {
  if (!domain) domain = boolean(true);
  return intern({Op::reduce, type, 0, static_cast<std::int64_t>(reducer), {body, domain}, std::move(axes)});
}
Expr ExprPool::map(AxisMap map, IndexId axis, Expr body, Expr domain, DType type) {
  if (!domain) domain = boolean(true);
  return intern({Op::map, type, 0, static_cast<std::int64_t>(map), {body, domain}, {axis}});
}
Expr ExprPool::scan(IndexId axis, Expr body, Expr init, DType type) {
  // Without the previous value there is no recurrence: each element is the body at its place.
  std::vector<Expr> open{body};
  bool recurs = false;
  for (std::size_t i = 0; i < open.size() && !recurs; ++i) {
    const Node& n = nodes_[open[i].id];
    recurs = n.op == Op::previous;
    for (std::size_t k = n.op == Op::scan ? 2 : 0; k < n.args.size(); ++k)
      if (std::find(open.begin(), open.end(), n.args[k]) == open.end()) open.push_back(n.args[k]);
  }
  if (!recurs) return cast(body, type);
  return intern({Op::scan, type, 0, 0, {body, boolean(true), init}, {axis}});
}

bool ExprPool::is_integer_constant(Expr e, std::int64_t* value) const {
  const Node& n = nodes_[e.id];
  if (n.op != Op::constant || is_float(n.type)) return false;
  if (value) *value = n.payload;
  return e.id != 0;
}
bool ExprPool::is_real_constant(Expr e, double* value) const {
  const Node& n = nodes_[e.id];
  if (n.op != Op::constant || !is_float(n.type) || e.id == 0) return false;
  if (value) *value = std::bit_cast<double>(n.payload);
  return true;
}
bool ExprPool::is_true(Expr e) const {
  std::int64_t v = 0;
  return nodes_[e.id].type == DType::boolean && is_integer_constant(e, &v) && v == 1;
}

bool ExprPool::depends_on(Expr e, IndexId index) const {
  return std::binary_search(free_[e.id].begin(), free_[e.id].end(), index);
}
bool ExprPool::depends_on_any(Expr e, std::span<const IndexId> indices) const {
  return std::any_of(indices.begin(), indices.end(), [&](IndexId i) { return depends_on(e, i); });
}

Expr ExprPool::rewrite(Expr root, const std::function<Expr(Expr)>& rule) {
  std::unordered_map<std::uint32_t, Expr> done;
  std::function<Expr(Expr)> visit = [&](Expr e) -> Expr {
    if (auto it = done.find(e.id); it != done.end()) return it->second;
    const Node node = nodes_[e.id];
    std::vector<Expr> args;
    args.reserve(node.args.size());
    bool changed = false;
    for (Expr a : node.args) {
      args.push_back(visit(a));
      changed |= args.back() != a;
    }
    Expr out = e;
    if (changed) {
      if (is_elementwise(node.op)) out = apply(node.op, args);
      else if (node.op == Op::scan) out = scan(node.axes[0], args[0], args[2], node.type);
      else if (node.op == Op::cast) out = cast(args[0], node.type, node.flags);
      else {
        Node copy = node;
        copy.args = std::move(args);
        out = intern(std::move(copy));
      }
    }
    if (Expr replaced = rule(out)) out = replaced;
    done.emplace(e.id, out);
    return out;
  };
  return visit(root);
}

Expr ExprPool::substitute(Expr root, const std::unordered_map<IndexId, Expr>& values) {
  if (values.empty()) return root;
  std::unordered_map<std::uint32_t, Expr> done;
  std::function<Expr(Expr)> visit = [&](Expr e) -> Expr {
    const auto& free = free_[e.id];
    if (std::none_of(free.begin(), free.end(), [&](IndexId i) { return values.contains(i); })) return e;
    if (auto it = done.find(e.id); it != done.end()) return it->second;
    const Node node = nodes_[e.id];
    Expr out;
    if (node.op == Op::index) {
      out = values.at(static_cast<IndexId>(node.payload));
    } else {
      std::vector<Expr> args;
      for (Expr a : node.args) args.push_back(visit(a));
      if (is_elementwise(node.op)) out = apply(node.op, args);
      else if (node.op == Op::cast) out = cast(args[0], node.type, node.flags);
      else {
        Node copy = node;
        copy.args = std::move(args);
        // Forms that keep their axis can only be renamed to another index.
        for (IndexId& axis : copy.axes)
          if (auto it = values.find(axis); it != values.end() && depends_on(e, axis)) {
            const Node& to = nodes_[it->second.id];
            if (to.op != Op::index) broken("substitute: the axis of " + std::string(name(node.op)) + " becomes an expression");
            axis = static_cast<IndexId>(to.payload);
          }
        out = intern(std::move(copy));
      }
    }
    done.emplace(e.id, out);
    return out;
  };
  return visit(root);
}

}  // namespace quern::ir
