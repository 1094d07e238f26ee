// Walking and building index IR (walk.h).
#include "compiler/passes/walk.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

namespace quern::compiler {

using namespace ir;

bool binds_axes(Op op) {
  return op == Op::reduce || op == Op::map || op == Op::scan || op == Op::topk_value || op == Op::topk_position;
}

void for_each_node(const ExprPool& pool, Expr e, const std::function<void(Expr)>& see) {
  std::unordered_set<std::uint32_t> seen;
  std::function<void(Expr)> visit = [&](Expr at) {
    if (!at || !seen.insert(at.id).second) return;
    for (Expr a : pool[at].args) visit(a);
    see(at);
  };
  visit(e);
}

bool is_pointwise(const ExprPool& pool, Expr e) {
  bool found = false;
  for_each_node(pool, e, [&](Expr at) { found |= binds_axes(pool[at].op); });
  return !found;
}

std::size_t node_count(const ExprPool& pool, Expr e) {
  std::size_t n = 0;
  for_each_node(pool, e, [&](Expr) { ++n; });
  return n;
}

double tree_size(const ExprPool& pool, Expr e) {
  std::unordered_map<std::uint32_t, double> size;
  for_each_node(pool, e, [&](Expr at) {
    double n = 1;
    for (Expr a : pool[at].args)
      if (a) n += size[a.id];
    size[at.id] = n;
  });
  return size[e.id];
}

bool is_reduce(const ExprPool& pool, Expr e, Reducer reducer) {
  return pool[e].op == Op::reduce && static_cast<Reducer>(pool[e].payload) == reducer;
}
bool is_composite(Reducer reducer) { return reducer >= Reducer::count; }

Expr zero(ExprPool& pool, DType type) {
  if (is_small_float(type)) return pool.real(0, DType::f32);
  return is_float(type) ? pool.real(0, type) : pool.integer(0, type);
}
Expr number(ExprPool& pool, double value, Expr like) {
  const DType type = pool.type(like);
  if (is_float(type)) return pool.real(value, is_small_float(type) ? DType::f32 : type);
  return pool.integer(static_cast<std::int64_t>(value), type);
}

Expr identity_of(ExprPool& pool, Reducer reducer, DType type) {
  const double inf = std::numeric_limits<double>::infinity();
  switch (reducer) {
    case Reducer::sum: return zero(pool, type);
    case Reducer::prod: return is_float(type) ? pool.real(1, type) : pool.integer(1, type);
    case Reducer::max:
      if (is_float(type)) return pool.real(-inf, type);
      if (type == DType::i64) return pool.integer(std::numeric_limits<std::int64_t>::min(), type);
      return pool.integer(type == DType::boolean || type == DType::u8 ? 0 : -static_cast<std::int64_t>(largest_finite(type)) - 1, type);
    case Reducer::min:
      if (is_float(type)) return pool.real(inf, type);
      if (type == DType::i64) return pool.integer(std::numeric_limits<std::int64_t>::max(), type);
      return pool.integer(type == DType::boolean ? 1 : static_cast<std::int64_t>(largest_finite(type)), type);
    case Reducer::any: return pool.boolean(false);
    case Reducer::all: return pool.boolean(true);
    case Reducer::argmax: case Reducer::argmin: return pool.integer(-1, type);
    default: return {};
  }
}

std::vector<Expr> conjuncts(const ExprPool& pool, Expr condition) {
  std::vector<Expr> out;
  std::function<void(Expr)> visit = [&](Expr e) {
    if (!e || pool.is_true(e)) return;
    if (pool[e].op == Op::and_) {
      visit(pool[e].args[0]);
      visit(pool[e].args[1]);
    } else if (std::find(out.begin(), out.end(), e) == out.end()) {
      out.push_back(e);
    }
  };
  visit(condition);
  return out;
}

Expr conjunction(ExprPool& pool, std::span<const Expr> parts) {
  Expr out = pool.boolean(true);
  for (Expr part : parts) out = pool.both(out, part);
  return out;
}

Expr both(ExprPool& pool, Expr a, Expr b) {
  std::vector<Expr> parts = conjuncts(pool, a);
  for (Expr part : conjuncts(pool, b))
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
  return conjunction(pool, parts);
}

Expr negation(ExprPool& pool, Expr condition) {
  const Node& n = pool[condition];
  if (!n.args.empty() && !is_float(pool.type(n.args[0]))) {
    const Expr a = n.args[0], b = n.args.size() > 1 ? n.args[1] : Expr{};
    switch (n.op) {
      case Op::lt: return pool.apply(Op::ge, {a, b});
      case Op::le: return pool.apply(Op::gt, {a, b});
      case Op::gt: return pool.apply(Op::le, {a, b});
      case Op::ge: return pool.apply(Op::lt, {a, b});
      case Op::eq: return pool.apply(Op::ne, {a, b});
      case Op::ne: return pool.apply(Op::eq, {a, b});
      default: break;
    }
  }
  return pool.apply(Op::not_, {condition});
}

IndexId fresh_index(Program& program, IndexId like) {
  const Index copy = program.indices[like];
  return program.add_index(copy.name, copy.begin, copy.end);
}

Expr fresh_copy(Program& program, Expr root, Renaming values) {
  ExprPool& pool = program.pool;
  // One table of finished nodes per scope: a node means something else where its axis has been renamed again.
  std::function<Expr(Expr, const Renaming&, std::unordered_map<std::uint32_t, Expr>&)> visit =
      [&](Expr e, const Renaming& now, std::unordered_map<std::uint32_t, Expr>& done) -> Expr {
    if (auto it = done.find(e.id); it != done.end()) return it->second;
    const Node node = pool[e];
    Expr out = e;
    if (node.op == Op::index) {
      auto it = now.find(static_cast<IndexId>(node.payload));
      if (it != now.end()) out = it->second;
    } else if (binds_axes(node.op)) {
      Renaming inner = now;
      Node copy = node;
      for (std::size_t k = 0; k < copy.axes.size(); ++k) {
        const IndexId axis = node.axes[k];
        auto it = now.find(axis);
        const bool given = it != now.end() && pool.depends_on(e, axis) && pool[it->second].op == Op::index;
        if (!pool.depends_on(e, axis)) {
          copy.axes[k] = fresh_index(program, axis);
          inner[axis] = pool.index(copy.axes[k]);
        } else if (given) {
          copy.axes[k] = static_cast<IndexId>(pool[it->second].payload);
        }
      }
      std::unordered_map<std::uint32_t, Expr> scope;
      for (Expr& a : copy.args) a = visit(a, inner, scope);
      out = pool.intern(std::move(copy));
    } else if (!node.args.empty()) {
      std::vector<Expr> args;
      for (Expr a : node.args) args.push_back(visit(a, now, done));
      if (is_elementwise(node.op)) out = pool.apply(node.op, args);
      else if (node.op == Op::cast) out = pool.cast(args[0], node.type, node.flags);
      else {
        Node copy = node;
        copy.args = std::move(args);
        out = pool.intern(std::move(copy));
      }
    }
    done.emplace(e.id, out);
    return out;
  };
  std::unordered_map<std::uint32_t, Expr> done;
  return visit(root, values, done);
}

Expr extent(Program& program, IndexId index) {
  return program.pool.sub(program.indices[index].end, program.indices[index].begin);
}

Expr points(Program& program, std::span<const IndexId> axes) {
  Expr out = program.pool.integer(1);
  for (IndexId a : axes) out = program.pool.mul(out, extent(program, a));
  return out;
}

std::string fresh_name(const Program& program, const std::string& base) {
  auto taken = [&](const std::string& name) {
    for (const Tensor& t : program.tensors)
      if (t.name == name) return true;
    for (const Scalar& s : program.scalars)
      if (s.name == name) return true;
    for (const Symbol& s : program.symbols)
      if (s.name == name) return true;
    return false;
  };
  if (!taken(base)) return base;
  for (int k = 1;; ++k)
    if (std::string name = base + "_" + std::to_string(k); !taken(name)) return name;
}

std::vector<IndexId> free_in_order(const ExprPool& pool, Expr e, std::span<const IndexId> first) {
  const std::vector<IndexId>& free = pool.free_indices(e);
  std::vector<IndexId> out;
  for (IndexId i : first)
    if (std::binary_search(free.begin(), free.end(), i)) out.push_back(i);
  for (IndexId i : free)
    if (std::find(out.begin(), out.end(), i) == out.end()) out.push_back(i);
  return out;
}

Temp add_temp(Program& program, const std::string& base, DType type, std::span<const IndexId> free) {
  ExprPool& pool = program.pool;
  Temp temp;
  Tensor tensor;
  tensor.name = fresh_name(program, base);
  tensor.type = is_small_float(type) ? DType::f32 : type;
  tensor.role = Role::temp;
  std::vector<Expr> subscripts;
  for (IndexId index : free) {
    tensor.shape.push_back(extent(program, index));
    subscripts.push_back(pool.sub(pool.index(index), program.indices[index].begin));
    const IndexId fresh = fresh_index(program, index);
    temp.indices.push_back(fresh);
    temp.renaming[index] = pool.index(fresh);
    temp.equation.subscripts.push_back(pool.sub(pool.index(fresh), program.indices[fresh].begin));
  }
  const DType stored = tensor.type;
  temp.tensor = program.add_tensor(std::move(tensor));
  temp.read = pool.cast(pool.read(temp.tensor, stored, std::move(subscripts)), type);
  temp.equation.targets = {temp.tensor};
  temp.equation.indices = temp.indices;
  return temp;
}

}  // namespace quern::compiler
