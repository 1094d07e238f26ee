// The CUDA driver of this process, opened when a GPU is first used and not before.
#pragma once

#include <initializer_list>
#include <string>

#include "runtime/cuda/driver_api.h"

namespace quern::runtime::gpu {

/// The driver, initialised. Throws Error(unsupported) that says which library is missing, or which version was found and
/// which is needed; also in a child of fork() when the parent had initialised CUDA.
const Driver& driver();

/// "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)"
std::string text_of(const Driver& driver, Result result);
/// "13.0"
std::string version_text(int version);

/// Opens one library of CUDA: the value of the environment variable `variable` alone when it is set, else the first of
/// `names` that can be opened. Null: `tried` says what was tried and why it failed.
void* open_library(const char* variable, std::initializer_list<std::string> names, std::string& tried);

}  // namespace quern::runtime::gpu
