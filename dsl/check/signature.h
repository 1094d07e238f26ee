// The signature of a kernel: annotations, compile-time names, parameters with their facts, outputs. In: syntax and the
// bindings. Out: symbols, scalars and tensors of the program, and their names.
#pragma once

#include "dsl/check/check.h"
#include "dsl/check/elaborate.h"

namespace quern::dsl {

/// False when the body cannot sensibly be checked.
bool check_signature(Elaborator& el, const ast::Kernel& kernel, const Bindings& bindings);

}  // namespace quern::dsl
