// Many rows keep all multiprocessors busy by themselves; few long ones are cut into chunks.
#include "compiler/passes/plan_scan.h"

#include "compiler/passes/recurrences.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

std::shared_ptr<ChainPlan> chain_scan(Program& program, const Group& group, const PlanInput& input) {
  constexpr std::int64_t kThreads = 256, kManyRows = 4096, kShort = 2048;
  if (!input.gpu || group.stages.size() != 1 || group.stages[0].form != Form::scan || group.grid.size() + 1 != group.stages[0].free.size()) return nullptr;
  const Stage& s = group.stages[0];
  const auto recurrence = recurrence_of(program.pool, s.body);
  const IndexId along = s.axes[0];
  if (!recurrence || step_along(program, input, s.targets[0], s.subscripts, along) != Step::adjacent) return nullptr;
  ExprPool& pool = program.pool;
  const Expr rows = points(program, group.grid), length = extent(program, along);
  const Expr when = pool.both(pool.less(rows, pool.integer(kManyRows)), pool.apply(Op::ge, {length, pool.integer(kShort)}));
  if (pool.is_constant(when) && !pool.is_true(when)) return nullptr;
  auto made = std::make_shared<ChainPlan>();
  ChainPlan& chain = *made;
  chain.group = group;
  if (!pool.is_true(when) && !group.grid.empty()) chain.when = when;
  chain.group.grid.push_back(along);
  // Odd numbers of steps a thread keep its accesses to shared memory apart.
  chain.plan.blocks[along] = kThreads * (step_bytes(*recurrence) > 8 ? 7 : step_bytes(*recurrence) > 4 ? 15 : 31);
  chain.plan.lanes = 32;
  chain.plan.lane = along;
  return made;
}

}  // namespace quern::compiler
