// inline_pointwise: a temp whose body is pointwise is written out where it is read.
// Goes in: the flat form. Comes out: the flat form with fewer temps. The rule, in `worth_it`: always when each reader
// uses it at bare indices (the scheduler then places it by the indices it depends on, so nothing is computed more often
// than it is used); at any other subscripts only when it costs next to nothing. Outputs stay, and so does a temp whose
// body reads the entry values of an inout that a reader comes after.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

constexpr int kCheap = 6;             // operations
constexpr std::size_t kLargest = 600;  // nodes of a body after inlining; as a tree, kLargestTree

bool is_heavy(Op op) {
  switch (op) {
    case Op::neg: case Op::abs: case Op::sign: case Op::relu: case Op::floor: case Op::ceil: case Op::round: case Op::trunc:
    case Op::isnan: case Op::isinf: case Op::isfinite: case Op::add: case Op::sub: case Op::mul: case Op::min: case Op::max:
    case Op::fma: case Op::eq: case Op::ne: case Op::lt: case Op::le: case Op::gt: case Op::ge: case Op::not_: case Op::and_:
    case Op::or_: case Op::where: return false;
    default: return true;
  }
}

struct Use {
  std::size_t equation;
  Expr read;
};

bool bare(const Program& p, Expr read) {
  std::set<Expr> seen;
  for (Expr s : p.pool[read].args) {
    const Node& n = p.pool[s];
    if (p.pool.free_indices(s).empty() && n.op != Op::read) continue;  // one slice
    const Expr core = (n.op == Op::sub || n.op == Op::add) && p.pool.free_indices(n.args[1]).empty() ? n.args[0] : s;
    if (p.pool[core].op != Op::index || !seen.insert(core).second) return false;
  }
  return true;
}

/// tree_size of `reader` when every read of `temp` has grown to `size`.
double grown_tree(const ExprPool& pool, Expr reader, TensorId temp, double size) {
  std::unordered_map<std::uint32_t, double> grown;
  for_each_node(pool, reader, [&](Expr at) {
    const Node& n = pool[at];
    double total = n.op == Op::read && static_cast<TensorId>(n.payload) == temp ? size : 1;
    for (Expr a : n.args)
      if (a) total += grown[a.id];
    grown[at.id] = total;
  });
  return grown[reader.id];
}

struct Inliner {
  Program& program;
  ExprPool& pool;

  /// The value of temp at the subscripts of `read`, in terms of the reader's indices.
  Expr value_at(const Equation& equation, Expr read) {
    Renaming values;
    const Node node = pool[read];
    for (std::size_t k = 0; k < equation.subscripts.size(); ++k) {
      const Node& s = pool[equation.subscripts[k]];
      const Expr core = s.op == Op::index ? equation.subscripts[k] : s.args[0];
      const auto i = static_cast<IndexId>(pool[core].payload);
      values[i] = pool.add(node.args[k], program.indices[i].begin);
    }
    return pool.cast(pool.substitute(equation.body, values), program.tensors[equation.targets[0]].type);
  }

  bool worth_it(const Equation& equation, const std::vector<Use>& uses) {
    if (std::all_of(uses.begin(), uses.end(), [&](const Use& u) { return bare(program, u.read); })) return true;
    int operations = 0;
    bool heavy = false;
    for_each_node(pool, equation.body, [&](Expr e) {
      const Node& n = pool[e];
      if (!is_elementwise(n.op)) return;
      if (is_float(n.type) || n.type == DType::boolean) heavy |= is_heavy(n.op), ++operations;
    });
    return !heavy && operations <= kCheap;
  }

  /// Defined once, at subscripts that are its own indices.
  bool candidate(const Equation& equation) {
    if (equation.op != AssignOp::set || equation.targets.size() != 1) return false;
    if (program.tensors[equation.targets[0]].role != Role::temp || !is_pointwise(pool, equation.body)) return false;
    std::set<Expr> seen;
    for (Expr s : equation.subscripts) {
      const Node& n = pool[s];
      const Expr core = n.op == Op::sub ? n.args[0] : s;
      if (pool[core].op != Op::index || !seen.insert(core).second) return false;
      const Expr begin = program.indices[static_cast<IndexId>(pool[core].payload)].begin;
      std::int64_t at = 1;
      if (n.op == Op::sub ? n.args[1] != begin : !(pool.is_integer_constant(begin, &at) && at == 0)) return false;
    }
    return true;
  }

  /// Positions of the equations that overwrite what `body` reads (inout).
  std::size_t overwritten_at(Expr body) {
    std::set<TensorId> reads;
    for_each_node(pool, body, [&](Expr e) {
      if (pool[e].op == Op::read) reads.insert(static_cast<TensorId>(pool[e].payload));
    });
    for (std::size_t k = 0; k < program.equations.size(); ++k)
      for (TensorId t : program.equations[k].targets)
        if (program.tensors[t].entry && reads.contains(*program.tensors[t].entry)) return k;
    return program.equations.size();
  }
};

}  // namespace

bool inline_pointwise(Program& program) {
  ExprPool& pool = program.pool;
  Inliner inliner{program, pool};
  bool changed = false;
  for (std::size_t at = 0; at < program.equations.size(); ++at) {
    if (!inliner.candidate(program.equations[at])) continue;
    const Equation equation = program.equations[at];
    const TensorId temp = equation.targets[0];
    std::vector<Use> uses;
    bool possible = true;
    for (std::size_t k = at + 1; k < program.equations.size(); ++k) {
      auto collect = [&](Expr e) {
        for_each_node(pool, e, [&](Expr node) {
          const Node& n = pool[node];
          if (n.op != Op::read || static_cast<TensorId>(n.payload) != temp) return;
          possible = possible && !(n.flags & kChecked);
          uses.push_back({k, node});
        });
      };
      collect(program.equations[k].body);
      for (Expr s : program.equations[k].subscripts) collect(s);
    }
    if (!possible || uses.empty()) continue;
    const std::size_t last = inliner.overwritten_at(equation.body);
    if (std::any_of(uses.begin(), uses.end(), [&](const Use& u) { return u.equation > last; })) continue;
    if (!inliner.worth_it(equation, uses)) continue;
    const std::size_t own = node_count(pool, equation.body);
    if (std::any_of(uses.begin(), uses.end(),
                    [&](const Use& u) {
                      const Expr reader = program.equations[u.equation].body;
                      if (node_count(pool, reader) + own > kLargest) return true;
                      // Each occurrence of the read in the tree becomes the body.
                      return tree_size(pool, reader) * tree_size(pool, equation.body) > kLargestTree &&
                             grown_tree(pool, reader, temp, tree_size(pool, equation.body)) > kLargestTree;
                    }))
      continue;
    std::set<std::size_t> readers;
    for (const Use& u : uses) readers.insert(u.equation);
    for (std::size_t k : readers) {
      auto written_out = [&](Expr e) {
        return pool.rewrite(e, [&](Expr node) -> Expr {
          const Node& n = pool[node];
          if (n.op != Op::read || static_cast<TensorId>(n.payload) != temp) return {};
          return inliner.value_at(equation, node);
        });
      };
      program.equations[k].body = written_out(program.equations[k].body);
      for (Expr& s : program.equations[k].subscripts) s = written_out(s);
    }
    program.equations.erase(program.equations.begin() + static_cast<std::ptrdiff_t>(at));
    --at;
    changed = true;
  }
  return changed;
}

}  // namespace quern::compiler
