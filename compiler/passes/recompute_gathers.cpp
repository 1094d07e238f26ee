// recompute_gathers: a few elements of a large reduction, picked by data, are computed again instead of being stored.
// Goes in: the flat form. Comes out: the flat form, where z[t, label[t]] with z[t,v] = sum[d](x[t,d] * w[v,d]) is a sum
// of its own over [t], so that z need not exist in memory for it. Only reads that stand under no guard move.
#include <cmath>
#include <set>

#include "compiler/passes/passes.h"
#include "compiler/passes/ranges.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

constexpr double kNominal = 1024, kFewer = 8;  // a size that is not known; how many times fewer points are worth it

double volume(const Program& p, const std::vector<IndexId>& indices) {
  double v = 1;
  for (IndexId i : indices) {
    const Polynomial size = polynomial(p.pool, p.indices[i].end) - polynomial(p.pool, p.indices[i].begin);
    double extent = 0;
    for (const auto& [m, k] : size.terms) extent += static_cast<double>(k) * std::pow(kNominal, static_cast<double>(m.size()));
    v *= std::max(extent, 1.0);
  }
  return v;
}

/// Reads of `temp` under no condition.
void unguarded_reads(const ExprPool& pool, Expr e, TensorId temp, std::set<Expr>& out) {
  const Node& n = pool[e];
  if (n.op == Op::read && static_cast<TensorId>(n.payload) == temp) out.insert(e);
  if (n.op == Op::where || n.op == Op::and_ || n.op == Op::or_) return unguarded_reads(pool, n.args[0], temp, out);
  if (binds_axes(n.op) && !pool.is_true(n.args[1])) return;
  for (Expr a : n.args) unguarded_reads(pool, a, temp, out);
}

bool picks_by_data(const ExprPool& pool, Expr read) {
  bool found = false;
  for (Expr s : pool[read].args)
    for_each_node(pool, s, [&](Expr e) { found |= pool[e].op == Op::read; });
  return found;
}

}  // namespace

bool recompute_gathers(Program& program) {
  ExprPool& pool = program.pool;
  bool changed = false;
  for (std::size_t at = 0; at < program.equations.size(); ++at) {
    const Equation source = program.equations[at];
    if (source.op != AssignOp::set || source.targets.size() != 1 || program.tensors[source.targets[0]].role != Role::temp) continue;
    if (pool[source.body].op != Op::reduce) continue;
    bool plain = true;
    for (Expr s : source.subscripts) plain = plain && pool[s].op == Op::index;
    for (IndexId i : source.indices) {
      std::int64_t begin = 1;
      plain = plain && pool.is_integer_constant(program.indices[i].begin, &begin) && begin == 0;
    }
    if (!plain) continue;
    for (std::size_t k = at + 1; k < program.equations.size(); ++k) {
      std::set<Expr> reads;
      unguarded_reads(pool, program.equations[k].body, source.targets[0], reads);
      for (Expr read : reads) {
        const Node node = pool[read];
        const std::vector<IndexId> free = free_in_order(pool, read, program.equations[k].indices);
        if (!picks_by_data(pool, read) || volume(program, free) * kFewer > volume(program, source.indices)) continue;
        Renaming values;
        std::set<Expr> picked;  // indices of the source that data now picks
        for (std::size_t axis = 0; axis < node.args.size(); ++axis) {
          values[static_cast<IndexId>(pool[source.subscripts[axis]].payload)] = node.args[axis];
          if (pool[node.args[axis]].op != Op::index) picked.insert(source.subscripts[axis]);
        }
        Expr body = source.body;
        if (node.flags & kChecked)
          body = pool.rewrite(body, [&](Expr e) -> Expr {
            const Node n = pool[e];
            if (n.op != Op::read || (n.flags & kChecked)) return {};
            for (Expr index : picked)
              if (pool.depends_on(e, static_cast<IndexId>(pool[index].payload))) return pool.read(static_cast<TensorId>(n.payload), n.type, n.args, true);
            return {};
          });
        body = fresh_copy(program, body, values);
        if (!(node.flags & kChecked) && !Ranges(program).reads_in_range(body)) continue;
        Temp temp = add_temp(program, program.tensors[source.targets[0]].name + "_at", node.type, free);
        temp.equation.body = fresh_copy(program, body, temp.renaming);
        temp.equation.span = source.span;
        const Expr value = temp.read;
        program.equations[k].body = pool.rewrite(program.equations[k].body, [&](Expr e) { return e == read ? value : Expr{}; });
        program.equations.insert(program.equations.begin() + static_cast<std::ptrdiff_t>(k), std::move(temp.equation));
        ++k;
        changed = true;
      }
    }
  }
  return changed;
}

}  // namespace quern::compiler
