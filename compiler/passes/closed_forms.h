// Reductions over indices alone, without a loop: is a domain empty, how many points has it.
// In: axes and a domain. Out: an expression over sizes and outer indices, or none when the domain is not made of bounds.
#pragma once

#include <vector>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// The domain has a point whatever the sizes and the outer indices (in their ranges) are.
bool certainly_some(const ir::Program& program, const std::vector<ir::IndexId>& axes, ir::Expr domain);
/// "The domain has a point": for boxes, and for one axis bounded by inequalities.
ir::Expr some_closed(ir::Program& program, const std::vector<ir::IndexId>& axes, ir::Expr domain);
/// Number of points, i64: under the same conditions.
ir::Expr count_closed(ir::Program& program, const std::vector<ir::IndexId>& axes, ir::Expr domain);

}  // namespace quern::compiler
