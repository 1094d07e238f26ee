// Reductions inside the body of a scan that use its `prev`: they cannot be named as they stand, since `prev` is a number
// that only the scan has.
#pragma once

#include <optional>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// `e` uses the `prev` of a scan around it.
bool uses_previous(const ir::ExprPool& pool, ir::Expr e);

/// An equal expression in which `prev` stands outside the reductions: sum[k](prev * x[k] + y[k]) is
/// prev * sum[k](x[k]) + sum[k](y[k]), max[k](prev + x[k]) is prev + max[k](x[k]). None: `prev` cannot leave.
std::optional<ir::Expr> without_previous_inside(ir::Program& program, ir::Expr reduction);

}  // namespace quern::compiler
