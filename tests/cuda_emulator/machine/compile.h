// The system's C++ compiler as a function.
#pragma once

#include <cstddef>
#include <string>

namespace quern::emulator {

/// Compiles a translation unit behind the shim into a shared library in a private temporary folder, opens it and removes
/// the folder. Throws std::runtime_error with the compiler's messages. QUERN_EMULATOR_CXX names another compiler than c++.
void* compile_and_open(const std::string& source);

}  // namespace quern::emulator
