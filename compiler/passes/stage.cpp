// Questions about one stage of a fused group.
#include "compiler/passes/stage.h"

#include <algorithm>
#include <set>
#include <unordered_set>

namespace quern::compiler {

using namespace ir;

namespace {
bool contains(const std::vector<IndexId>& list, IndexId index) { return std::find(list.begin(), list.end(), index) != list.end(); }
bool contains_tensor(const std::vector<TensorId>& list, TensorId t) { return std::find(list.begin(), list.end(), t) != list.end(); }
}  // namespace

bool Stage::is_free(IndexId index) const { return contains(free, index); }
bool Stage::reduces(IndexId index) const { return form == Form::reduce && contains(axes, index); }
bool Stage::has(IndexId index) const { return contains(free, index) || contains(axes, index); }
bool Stage::is_sequential(IndexId index) const {
  return (form == Form::scan || form == Form::sort || form == Form::topk) && contains(axes, index);
}

bool Stage::stores(TensorId target) const { return contains_tensor(stored_targets, target); }

bool is_replicable(const Program& program, const Stage& stage) {
  return stage.form == Form::reduce && (stage.reducer == Reducer::any || stage.reducer == Reducer::all) &&
         program.pool.is_constant(stage.body) && program.tensors[stage.targets[0]].role == Role::temp;
}

void for_each_node(const ExprPool& pool, Expr root, const std::function<void(Expr, const Node&)>& visit) {
  std::unordered_set<std::uint32_t> seen;
  std::vector<Expr> todo{root};
  while (!todo.empty()) {
    const Expr e = todo.back();
    todo.pop_back();
    if (!e || !seen.insert(e.id).second) continue;
    visit(e, pool[e]);
    for (Expr a : pool[e].args) todo.push_back(a);
  }
}

void for_each_read(const ExprPool& pool, const Stage& stage, const std::function<void(Expr, const Node&)>& visit) {
  auto reads = [&](Expr root) {
    for_each_node(pool, root, [&](Expr e, const Node& n) { if (n.op == Op::read) visit(e, n); });
  };
  reads(stage.body);
  reads(stage.domain);
  reads(stage.init);
  for (Expr s : stage.subscripts) reads(s);
}

bool has_reuse(const Program& program, const Stage& stage) {
  if (stage.form != Form::reduce || stage.axes.empty()) return false;
  const ExprPool& pool = program.pool;
  std::set<IndexId> lacking, present;
  bool made_here = false;  // a value of its own for each point: what else is read goes with it, once
  for_each_node(pool, stage.body, [&](Expr e, const Node& n) {
    if (n.op != Op::read || !pool.depends_on_any(e, stage.axes)) return;
    for (IndexId i : stage.free) (pool.depends_on(e, i) ? present : lacking).insert(i);
    const auto everywhere = [&](IndexId i) { return pool.depends_on(e, i); };
    made_here |= program.tensors[static_cast<TensorId>(n.payload)].role == Role::temp && std::all_of(stage.free.begin(), stage.free.end(), everywhere) &&
                 std::all_of(stage.axes.begin(), stage.axes.end(), everywhere);
  });
  if (made_here) return false;
  return std::count_if(lacking.begin(), lacking.end(), [&](IndexId i) { return present.contains(i); }) >= 2;
}

}  // namespace quern::compiler
