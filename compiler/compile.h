// compile: a checked program becomes tile kernels, ready for a code generator. Reads as the list of passes.
#pragma once

#include "compiler/ir/tile.h"
#include "compiler/passes/lower_to_tiles.h"
#include "compiler/passes/pipeline.h"

namespace quern::compiler {

struct CompileOptions {
  PassOptions passes;  // which are off, dumps, verification
  PlanInput plan;      // target and what is known of the arguments' strides
};

/// requires: a verified program whose compile-time values are bound as far as the caller wants them fixed.
/// The two steps below.
tile::Module compile(ir::Program program, const CompileOptions& options = {});

/// The passes, then the canonical form: all of a program that tiles depend on.
ir::Program settle(ir::Program program, const PassOptions& options = {});
/// requires: a program that `settle` gave.
tile::Module lower(ir::Program program, const CompileOptions& options = {});

}  // namespace quern::compiler
