// lower_to_tiles: from the flat form to kernels over tiles. Contract in the comment of the function.
#pragma once

#include "compiler/ir/tile.h"
#include "compiler/passes/plan_kernel.h"

namespace quern::compiler {

/// requires: the flat form (pipeline.h). ensures: a module whose kernels, run in order, define every output; temps that
/// live between kernels are listed as workspace. Each kernel says in `why` how it came to be.
tile::Module lower_to_tiles(ir::Program program, const PlanInput& input);

}  // namespace quern::compiler
