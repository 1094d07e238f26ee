// One operator of the table on computed values: in, LLVM values of one width; out, the value. No calls leave the object.
#pragma once

#include <span>

#include "compiler/codegen/cpu/types.h"
#include "dsl/ir/expr.h"

namespace quern::cpu {

/// `type` is the type of the operands (for `where`: of the branches). Operands are all scalars or all vectors of one
/// width, except the condition of `where`, which may be scalar.
llvm::Value* elementwise(Builder& b, const Target& target, ir::Op op, DType type, std::span<llvm::Value* const> args);

/// a*b + c: one rounding where the machine has it.
llvm::Value* multiply_add(Builder& b, const Target& target, llvm::Value* x, llvm::Value* y, llvm::Value* z);

/// Larger or smaller of two, NaN wins. Integers and bool too (u8 and bool unsigned).
llvm::Value* extremum(Builder& b, DType type, bool maximum, llvm::Value* x, llvm::Value* y);

}  // namespace quern::cpu
