// One kernel as a program of its own: a .cu file with the generated code, inputs, what the interpreter says of some elements
// of the outputs, and a clock. For those who want to take a kernel away; it needs nvcc and nothing of this project.
#pragma once

#include <string>

#include "tools/command/loaded_kernel.h"

namespace quern::command {

/// Every size of `loaded.program` is fixed. `target`: "sm_90a". Throws Failure: usage where a size is not known, unavailable
/// without CUDA in the build, data where the interpreter refuses.
std::string export_cu(const LoadedKernel& loaded, const std::string& target);

}  // namespace quern::command
