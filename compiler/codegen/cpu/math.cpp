// Elementary functions: not generated yet; a program that needs one is refused with a compiler error.
#include "compiler/codegen/cpu/math.h"
#include <stdexcept>
namespace quern::cpu {
llvm::Value* math_function(Builder&, const Target&, ir::Op, llvm::Value*, llvm::Value*) { throw std::logic_error("elementary functions"); }
}
