// The functions that kernels call through Args. Needs no LLVM.
#pragma once

#include "compiler/codegen/cpu/abi.h"

namespace quern::cpu {

const Helpers& default_helpers();

}  // namespace quern::cpu
