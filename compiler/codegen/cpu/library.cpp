// The one name that libquern_llvm.so gives away.
#include "compiler/build_id.h"
#include "compiler/codegen/cpu/code_generator.h"

extern "C" __attribute__((visibility("default"))) const quern::cpu::CodeGenerator* quern_llvm_code_generator() {
  static const quern::cpu::CodeGenerator generator{quern::compiler::kBuildId, quern::cpu::compile_cpu, quern::cpu::compile_object, quern::cpu::compiler_version};
  return &generator;
}
