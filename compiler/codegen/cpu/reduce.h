// Reducers on registers: identity, one step, horizontal combination over lanes, prefix over lanes.
#pragma once

#include "compiler/codegen/cpu/types.h"
#include "dsl/ir/expr.h"

namespace quern::cpu {

/// An accumulator: the value, and for argmax and argmin its position (i32, -1 = none yet).
struct Accumulator {
  llvm::Value* value = nullptr;
  llvm::Value* position = nullptr;
};

bool has_position(ir::Reducer reducer);
llvm::Constant* identity(llvm::Type* type, ir::Reducer reducer, DType dtype);
/// accumulator ⊕ x, element by element. Positions: the better value wins, ties go to the lower position, -1 never wins.
Accumulator combine(Builder& b, ir::Reducer reducer, DType dtype, Accumulator x, Accumulator y);
/// The same where y's position is known to be the higher one and x's is set: x keeps ties.
Accumulator combine_ascending(Builder& b, ir::Reducer reducer, DType dtype, Accumulator x, Accumulator y);
/// Over all lanes of a vector to a scalar.
Accumulator horizontal(Builder& b, ir::Reducer reducer, DType dtype, Accumulator x);
/// Inclusive prefix over the lanes; sum, prod, max, min only.
llvm::Value* prefix(Builder& b, ir::Reducer reducer, DType dtype, llvm::Value* x);

}  // namespace quern::cpu
