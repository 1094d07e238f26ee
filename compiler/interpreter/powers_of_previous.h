// A sum over a polynomial in the `prev` of a scan around it is a sum for each power (dsl/check/recurrence.h), since `prev`
// has to leave it: 0.25 * prev - x, exact as it stands maybe, rounds as two terms. In: such a term. Out: the terms of the
// polynomial, written out.
#pragma once

#include <functional>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::interpreter {

/// One element where `term` is no sum. `recurrent` tells whether an expression contains `prev`.
std::vector<ir::Expr> powers_of_previous(ir::ExprPool& pool, ir::Expr term, const std::function<bool(ir::Expr)>& recurrent);

}  // namespace quern::interpreter
