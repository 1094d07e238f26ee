// LLVM types of element types and the conversions between them. A small float lives in registers as the f32 it widens
// to; bool is i1 in registers and a byte in memory. Every function works on scalars and on vectors alike.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include "compiler/codegen/cpu/target.h"
#include "dsl/ir/dtype.h"

namespace quern::cpu {

using Builder = llvm::IRBuilder<>;

/// Type of a computed value: float for small floats, i1 for bool.
llvm::Type* register_type(llvm::LLVMContext& context, DType type);
/// Type of one stored element: i16 for f16 and bf16, i8 for fp8 and bool.
llvm::Type* memory_type(llvm::LLVMContext& context, DType type);
/// `element` as wide as `like` is (a vector of as many elements, or the scalar itself).
llvm::Type* shaped_like(llvm::Type* element, llvm::Type* like);
/// Lanes of a vector type, 1 for a scalar.
unsigned lanes_of(llvm::Type* type);

/// Stored bits to the computed value, exact.
llvm::Value* widen_stored(Builder& b, const Target& target, llvm::Value* stored, DType type);
/// Computed value of `from` to the bits stored for `to`, rounding once.
llvm::Value* narrow_to_stored(Builder& b, const Target& target, llvm::Value* value, DType from, DType to);
/// Computed value of `from` to the computed value of `to` (a small float `to`: rounded to it, kept as f32).
llvm::Value* convert(Builder& b, const Target& target, llvm::Value* value, DType from, DType to);

}  // namespace quern::cpu
