// How a group that is one scan is laid out for blocks of threads: rows each by a warp, or rows cut into chunks that are
// tasks of their own and pass the state on.
#pragma once

#include <memory>

#include "compiler/passes/plan_kernel.h"

namespace quern::compiler {

struct ChainPlan {
  Group group;      // the scanned index is the last of the grid
  KernelPlan plan;  // and blocked
  ir::Expr when;    // bool over sizes: this plan, else that of plan_kernel; none = always
};

/// Nothing on a CPU, nothing where the steps of the scan do not combine, or neighbours along it lie far apart.
std::shared_ptr<ChainPlan> chain_scan(ir::Program& program, const Group& group, const PlanInput& input);

}  // namespace quern::compiler
