// split_slices: a temp that is only read at constant positions of an axis becomes one temp per position.
// Goes in: the flat form. Comes out: the flat form, with p[0, m, n] and p[1, m, n] as tensors of their own, so that each
// can be fused where it is used. From the last equation up: a slice asks for slices of what it reads.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

constexpr std::size_t kMostSlices = 8;

/// The constants at which axis `axis` of `temp` is read after equation `at`; nothing when one read has none.
std::optional<std::set<std::int64_t>> positions(const Program& p, TensorId temp, std::size_t axis, std::size_t at) {
  const ExprPool& pool = p.pool;
  std::set<std::int64_t> out;
  bool fine = true;
  auto look = [&](Expr e) {
    for_each_node(pool, e, [&](Expr node) {
      const Node& n = pool[node];
      if (n.op != Op::read || static_cast<TensorId>(n.payload) != temp) return;
      std::int64_t value = 0;
      fine = fine && !(n.flags & kChecked) && pool.is_integer_constant(n.args[axis], &value);
      out.insert(value);
    });
  };
  for (std::size_t k = at + 1; k < p.equations.size(); ++k) {
    look(p.equations[k].body);
    for (Expr s : p.equations[k].subscripts) look(s);
  }
  if (!fine || out.empty() || out.size() > kMostSlices) return std::nullopt;
  return out;
}

bool split_axis(Program& program, std::size_t at, std::size_t axis) {
  ExprPool& pool = program.pool;
  const Equation equation = program.equations[at];
  const TensorId temp = equation.targets[0];
  const Node subscript = pool[equation.subscripts[axis]];
  std::int64_t begin = 1;
  if (subscript.op != Op::index) return false;
  const auto index = static_cast<IndexId>(subscript.payload);
  if (!pool.is_integer_constant(program.indices[index].begin, &begin) || begin != 0) return false;
  const auto& own = pool[equation.body].axes;
  if (std::find(own.begin(), own.end(), index) != own.end()) return false;  // it runs along this axis
  for (std::size_t k = 0; k < equation.subscripts.size(); ++k)
    if (k != axis && pool.depends_on(equation.subscripts[k], index)) return false;
  const auto wanted = positions(program, temp, axis, at);
  if (!wanted) return false;
  // A slice is computed whether or not anything reads it, so its place must be known to exist.
  std::int64_t end = 0;
  if (!pool.is_integer_constant(program.indices[index].end, &end) || *wanted->begin() < 0 || *wanted->rbegin() >= end) return false;

  std::map<std::int64_t, TensorId> slices;
  std::vector<Equation> made;
  for (std::int64_t position : *wanted) {
    Tensor slice = program.tensors[temp];
    slice.name = fresh_name(program, slice.name + "_" + std::to_string(position));
    slice.shape.erase(slice.shape.begin() + static_cast<std::ptrdiff_t>(axis));
    slices[position] = program.add_tensor(std::move(slice));
    Equation e = equation;
    e.targets = {slices[position]};
    e.indices.clear();
    Renaming values{{index, pool.integer(position)}};
    for (IndexId i : equation.indices)
      if (i != index) {
        e.indices.push_back(fresh_index(program, i));
        values[i] = pool.index(e.indices.back());
      }
    e.subscripts.clear();
    for (std::size_t k = 0; k < equation.subscripts.size(); ++k)
      if (k != axis) e.subscripts.push_back(fresh_copy(program, equation.subscripts[k], values));
    e.body = fresh_copy(program, equation.body, values);
    made.push_back(std::move(e));
  }
  auto redirect = [&](Expr e) {
    return pool.rewrite(e, [&](Expr node) -> Expr {
      const Node n = pool[node];
      if (n.op != Op::read || static_cast<TensorId>(n.payload) != temp) return {};
      std::int64_t position = 0;
      pool.is_integer_constant(n.args[axis], &position);
      std::vector<Expr> subscripts = n.args;
      subscripts.erase(subscripts.begin() + static_cast<std::ptrdiff_t>(axis));
      return pool.read(slices.at(position), n.type, std::move(subscripts));
    });
  };
  for (std::size_t k = at + 1; k < program.equations.size(); ++k) {
    program.equations[k].body = redirect(program.equations[k].body);
    for (Expr& s : program.equations[k].subscripts) s = redirect(s);
  }
  program.equations.erase(program.equations.begin() + static_cast<std::ptrdiff_t>(at));
  program.equations.insert(program.equations.begin() + static_cast<std::ptrdiff_t>(at), made.begin(), made.end());
  return true;
}

}  // namespace

bool split_slices(Program& program) {
  bool changed = false;
  for (std::size_t at = program.equations.size(); at-- > 0;) {
    const Equation& equation = program.equations[at];
    if (equation.op != AssignOp::set || equation.targets.size() != 1) continue;
    if (program.tensors[equation.targets[0]].role != Role::temp) continue;
    const std::size_t rank = equation.subscripts.size(), before = program.equations.size();
    for (std::size_t axis = 0; axis < rank; ++axis)
      if (split_axis(program, at, axis)) {
        // The slices stand where the whole stood, and may have more constant axes.
        at += program.equations.size() - before + 1;
        changed = true;
        break;
      }
  }
  return changed;
}

}  // namespace quern::compiler
