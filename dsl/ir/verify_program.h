// Checks that an index program is well formed: a program goes in, a list of messages comes out, empty when all is well.
// Run between passes: a pass that breaks a rule is found where it happened and not where it hurts.
#pragma once

#include <string>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::ir {

/// Types follow the operator table, ids exist, subscripts match ranks, every index is bound exactly once on the way
/// down, each tensor is defined once and before it is read, and every output is defined.
std::vector<std::string> verify_program(const Program& program);

}  // namespace quern::ir
