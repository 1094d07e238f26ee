// reduce_strength: dearer operators of a group's stages become cheaper ones where the error bounds leave room.
#pragma once

#include "compiler/passes/stage.h"

namespace quern::compiler {

/// exp(a*c - b*c) with computed a becomes exp2((a - b) * (c*log2(e))); a / b with a
/// divisor that stays the same along some loop becomes a product with its reciprocal. Both cost at most one rounding that
/// the operands' own bounds already hold; exact operands are left alone, and so is a @precise program.
void reduce_strength(ir::Program& program, Group& group);
/// The same for one expression at the points of `stage`.
ir::Expr reduce_strength(ir::Program& program, Group& group, const Stage& stage, ir::Expr e);

}  // namespace quern::compiler
