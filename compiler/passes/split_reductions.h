// Long reductions to few results become many short ones, so that every multiprocessor, every thread of a CPU has its part.
#pragma once

#include <set>

#include "compiler/passes/plan_kernel.h"

namespace quern::compiler {

/// requires: the flat form.  y = reduce over r becomes part[b] = reduce over the r of part b; y = reduce over b of part[b].
/// The number of parts follows the sizes of the call. Returns the targets that must be complete before they are read.
/// example: y = sum[n](x[n])  ->  y_part[b] = sum[r in 0:C where b*C + r < N](x[b*C + r]); y = sum[b](y_part[b])
std::set<ir::TensorId> split_reductions(ir::Program& program, const PlanInput& input);

}  // namespace quern::compiler
