// What the two ways to make objects share of LLVM: compile_cpu.cpp (one kernel, to be loaded) and compile_object.cpp (many,
// to be linked).
#pragma once

#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <memory>
#include <string>

#include "compiler/codegen/cpu/target.h"

namespace quern::cpu {

/// Null, with `error` filled, for a processor that LLVM does not know.
std::unique_ptr<llvm::TargetMachine> machine_for(const Target& target, std::string* error);
/// Sets the layout and the triple.
void describe_machine(llvm::Module& module, const llvm::TargetMachine& machine);
/// "" and `error` filled when the target cannot write such a file.
std::string emit(llvm::TargetMachine& machine, llvm::Module& module, llvm::CodeGenFileType type, std::string* error);
/// Names the object needs from elsewhere: "a, b".
std::string undefined_symbols(const std::string& object);

}  // namespace quern::cpu
