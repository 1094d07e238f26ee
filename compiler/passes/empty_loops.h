// A form that is named over fewer indices than its equation leaves loops behind that may be empty.
// In: a form and the loops that stood around it. Out: the form as it may run when one of those loops has no point: reads
// that are in range only because a loop around them has a point keep that as a guard. The value behind it is never used.
#pragma once

#include <span>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// The binding form with nothing evaluated where `condition`, free of its axes, fails.
ir::Expr under_guard(ir::Program& program, ir::Expr form, ir::Expr condition);
/// `form`, a binding form over pointwise operands, as it may run without the loops of `around`.
ir::Expr outside_loops(ir::Program& program, ir::Expr form, std::span<const ir::IndexId> around);

}  // namespace quern::compiler
