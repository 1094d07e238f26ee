// The target that the options of a kernel name.
#pragma once

#include <quern/kernel.h>

#include "compiler/codegen/cpu/target.h"

namespace quern::runtime {

/// Throws Error: a name that does not exist, or a target that this processor cannot run.
cpu::Target target_of(const Options& options);

}  // namespace quern::runtime
