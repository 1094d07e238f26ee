// Device functions around single instructions of the tensor cores and of asynchronous copies. A kernel that uses them
// puts this text behind prelude(). tests/cuda_emulator has bodies of its own for them.
#pragma once

#include <string>

namespace quern::cuda {

std::string tensor_prelude();

}  // namespace quern::cuda
