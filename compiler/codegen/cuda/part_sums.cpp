// Sums over columns that go on from block to block: s = s * factor + sum of this block's columns, where the factor is the row's.
// They are linear, so the four lanes that share a row can each go on with a part of its own; the parts are added once, behind
// the loop. In: an arranged kernel. Out: the tiles for which that holds.
#include <algorithm>
#include <functional>

#include "compiler/codegen/cuda/arrange.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {

struct Search {
  Search(const Program& p, const Arrangement& arrangement) : program(p), a(arrangement), pool(p.pool) {}
  const Program& program;
  const Arrangement& a;
  const ExprPool& pool;
  std::set<TensorId> zero;                       // 0 in all rows so far
  std::set<TensorId> found;                      // of the loop at hand
  std::set<TensorId> refused;

  void refuse_reads(Expr e) {
    if (e) compiler::for_each_node(pool, e, [&](Expr at) { if (pool[at].op == Op::read) refused.insert(static_cast<TensorId>(pool[at].payload)); });
  }

  /// What `start` multiplies the sum so far by is all that is read of it.
  bool goes_on(const Update& u) {
    if (u.kind != UpdateKind::reduce || u.reducer != Reducer::sum || u.over.empty() || !u.start || u.result || u.has_position_target) return false;
    if (program.tensors[u.target].type != DType::f32 || pool.type(u.body) != DType::f32) return false;
    const auto is_self = [&](Expr e) { return pool[e].op == Op::read && static_cast<TensorId>(pool[e].payload) == u.target && pool[e].args == u.subscripts; };
    if (is_self(u.start)) return true;
    const Node n = pool[u.start];
    if (n.op != Op::mul || n.type != DType::f32 || is_self(n.args[0]) == is_self(n.args[1])) return false;
    refuse_reads(is_self(n.args[0]) ? n.args[1] : n.args[0]);
    return true;
  }

  void nest(const Nest& n, bool inside) {
    for (const Update& u : n.updates) {
      for (Expr e : {u.body, u.domain, u.result, u.position, u.start_position}) refuse_reads(e);
      for (Expr e : u.subscripts) refuse_reads(e);
      const bool on = inside && a.kinds.at(&n) == NestKind::arranged && goes_on(u);
      if (on && zero.contains(u.target)) found.insert(u.target);
      else refused.insert(u.target);
      if (!on) refuse_reads(u.start);
      if (u.has_position_target) refused.insert(u.position_target);
    }
  }

  void block(const tile::Block& statements) {
    for (const tile::Statement& s : statements) {
      if (const auto* n = std::get_if<Nest>(&s.node)) {
        nest(*n, true);
      } else if (const auto* loop = std::get_if<tile::For>(&s.node)) {
        bounds(*loop);
        block(loop->body);
      } else if (const auto* branch = std::get_if<tile::If>(&s.node)) {
        refuse_reads(branch->condition);
        block(branch->then_block);
        block(branch->else_block);
      } else {
        const auto& select = std::get<tile::Select>(s.node);
        refused.insert({select.source, select.values, select.positions});
      }
    }
  }

  void bounds(const tile::For& loop) {
    refuse_reads(loop.begin);
    refuse_reads(loop.end);
    for (const Nest& mask : loop.masks) nest(mask, false);
  }

  /// Ahead of a loop: rows that are set to 0; nothing else is known.
  void before(const Nest& n) {
    for (const Update& u : n.updates) {
      double value = 1;
      const auto it = a.registers.find(u.target);
      const bool zeros = u.kind == UpdateKind::store && !u.domain && it != a.registers.end() && it->second.size() == 1 &&
                         a.kinds.at(&n) == NestKind::arranged && pool.is_real_constant(u.body, &value) && value == 0;
      if (zeros) zero.insert(u.target);
      else zero.erase(u.target);
    }
  }
};

}  // namespace

std::map<const tile::For*, std::set<TensorId>> part_sums(const Program& program, const tile::Kernel& kernel, const Arrangement& arrangement) {
  std::map<const tile::For*, std::set<TensorId>> result;
  Search search(program, arrangement);
  for (const tile::Statement& s : kernel.body) {
    if (const auto* n = std::get_if<Nest>(&s.node)) {
      search.before(*n);
    } else if (const auto* loop = std::get_if<tile::For>(&s.node)) {
      search.found.clear();
      search.refused.clear();
      search.bounds(*loop);
      search.block(loop->body);
      for (TensorId t : search.found)
        if (!search.refused.contains(t)) result[loop].insert(t);
      search.zero.clear();
    } else {
      search.zero.clear();
    }
  }
  return result;
}

}  // namespace quern::cuda
