// The CPU code generator as a library of its own, libquern_llvm.so, which holds all of LLVM and is opened when something
// must be compiled: a process whose kernels were made before never loads it.
#pragma once

#include <string>

#include "compiler/codegen/cpu/compile_cpu.h"
#include "compiler/codegen/cpu/compile_object.h"

namespace quern::cpu {

/// What the library gives. `build` names the sources that it was built from: another build's is refused.
struct CodeGenerator {
  const char* build;
  CompiledCpu (*compile)(const tile::Module& module, const CpuOptions& options);
  CompiledObject (*compile_object)(const ObjectRequest& request);
  std::string (*version)();
};

/// Opened at the first call: the file that QUERN_LLVM_LIBRARY names, else beside the library or program that this is in, else
/// wherever the loader looks. Null, with `error` filled, when there is none; a later call looks again.
const CodeGenerator* code_generator(std::string* error);

/// The name under which libquern_llvm.so gives its CodeGenerator: `const CodeGenerator* quern_llvm_code_generator()`.
inline constexpr const char* kCodeGeneratorSymbol = "quern_llvm_code_generator";

}  // namespace quern::cpu
