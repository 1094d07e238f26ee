// A tile::Nest at the frame's current place, and expressions that are the same for all points there.
#pragma once

#include "compiler/codegen/cpu/frame.h"

namespace quern::cpu {

void emit_nest(Frame& frame, const tile::Nest& nest);
/// Value of an expression over symbols, scalars, block indices and reads at `frame.here`.
llvm::Value* emit_uniform(Frame& frame, ir::Expr e);

}  // namespace quern::cpu
