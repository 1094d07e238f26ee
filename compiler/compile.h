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
tile::Module compile(ir::Program program, const CompileOptions& options = {});

}  // namespace quern::compiler
