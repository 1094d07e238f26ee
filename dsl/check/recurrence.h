// What may use `prev` inside the body of a scan. A reduction there is computed for all steps beforehand, so `prev` must be
// able to leave it: the compiler takes it out of everything that passes here (compiler/passes/free_previous.h).
#pragma once

#include "dsl/ir/expr.h"

namespace quern::dsl {

/// `e` uses the `prev` of a scan around it.
bool uses_previous(const ir::ExprPool& pool, ir::Expr e);

/// `prev` can leave the form: it is a polynomial of degree 4 or less under a sum or mean; a term, an operand of the same
/// max or min, or in a value that knows no reduced index under max and min. Other reducers and axis maps keep it.
bool previous_leaves(const ir::ExprPool& pool, ir::Expr form);

}  // namespace quern::dsl
