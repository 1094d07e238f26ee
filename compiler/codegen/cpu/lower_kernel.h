// One kernel of a tile::Module to an LLVM function, and the plan function of the module.
#pragma once

#include <llvm/IR/Module.h>

#include "compiler/codegen/cpu/compile_cpu.h"

namespace quern::cpu {

void lower_kernel(llvm::Module& out, const tile::Module& module, const CpuOptions& options, const tile::Kernel& kernel,
                  const std::string& symbol);
void lower_plan(llvm::Module& out, const tile::Module& module, const CpuOptions& options, const std::string& symbol);

}  // namespace quern::cpu
