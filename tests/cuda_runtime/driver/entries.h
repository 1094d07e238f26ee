// The names of the kernels in a text: extern "C" __global__ ... name(const __grid_constant__ ...).
#pragma once

#include <string>
#include <vector>

namespace quern_test {

std::vector<std::string> entries_of(const std::string& text);

}  // namespace quern_test
