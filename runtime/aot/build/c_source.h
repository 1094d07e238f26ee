// The same as an object, as C text: descriptions and cubins as arrays of bytes, functions that hand their arguments on. For GPU
// targets, whose code is data to the processor: any C compiler makes the object, and no LLVM is needed to ship them.
#pragma once

#include <string>
#include <vector>

#include "compiler/codegen/cpu/compile_object.h"
#include "runtime/aot/build/c_interface.h"

namespace quern::runtime::aot {

/// `name`: of the header to include. Tables hold bytes alone.
std::string c_source(const std::string& name, const std::string& file, const std::vector<cpu::ObjectKernel>& kernels, const std::vector<CFunction>& functions);

}  // namespace quern::runtime::aot
