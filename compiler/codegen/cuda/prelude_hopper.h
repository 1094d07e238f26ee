// Device functions around the instructions of sm_90a: products of warp groups, tensor copies, memory barriers, registers.
// A kernel with roles puts this text behind tensor_prelude(). tests/cuda_emulator has bodies of its own for them.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace quern::cuda {

/// `columns`: widths of the products that the kernels use, multiples of 8 up to 256.
std::string hopper_prelude(const std::set<int>& columns);

/// Behind it, where products take e4m3 and e5m2 as they are.
std::string byte_products_prelude(const std::set<int>& columns);
/// Behind it, where operand tiles are widened.
std::string_view widening_prelude();

}  // namespace quern::cuda
