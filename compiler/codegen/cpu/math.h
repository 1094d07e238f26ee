// Elementary functions as straight-line IR on f32 or f64, scalars or vectors: no calls, exact specials, denormals kept.
#pragma once

#include "compiler/codegen/cpu/types.h"
#include "dsl/ir/expr.h"

namespace quern::cpu {

/// op is exp ... logaddexp of the operator table (not sqrt); `y` for two operands. The element type is that of `x`.
llvm::Value* math_function(Builder& b, const Target& target, ir::Op op, llvm::Value* x, llvm::Value* y = nullptr);

}  // namespace quern::cpu
