// Device functions around the instructions of sm_90a: products of warp groups, tensor copies, memory barriers, registers.
// A kernel with roles puts this text behind tensor_prelude(). tests/cuda_emulator has bodies of its own for them.
#pragma once

#include <compare>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace quern::cuda {

/// Without products.
std::string_view hopper_prelude();

/// An operand of a product: in the registers of the threads, or a tile in shared memory.
struct GroupOperand {
  bool in_registers = false;
  bool transposed = false;  // the other index runs along the 128 bytes, not the summed one
  std::int64_t rows = 0;    // of the tile, where it is not transposed: its pieces follow each other
  auto operator<=>(const GroupOperand&) const = default;
};

/// d (64 x columns) += a b, `steps` times 32 bytes of the summed index; in registers a is [steps or more][4].
struct GroupProduct {
  std::string left_type, right_type;  // bf16, f16 (twice the same), e4m3, e5m2 (tiles along the summed index)
  int columns = 0, steps = 0;         // columns: a multiple of 8 up to 256
  GroupOperand left, right;
  auto operator<=>(const GroupProduct&) const = default;

  /// Of a function of (d, a, b, add); add: whether the first step adds to d or begins it.
  std::string name() const;
};
/// Behind it, the functions of those products.
std::string group_products(const std::set<GroupProduct>& products);

/// Behind it, where products take e4m3 and e5m2 as they are.
std::string_view byte_copies_prelude();
/// Behind it, where operand tiles are widened.
std::string_view widening_prelude();

}  // namespace quern::cuda
