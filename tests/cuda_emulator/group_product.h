// y (M x N, f32) = a (M x K) b (K x N) by hand: a producer warp loads tiles through tensor maps into a ring of two stages,
// warp groups of 64 rows each multiply them. The same text and numbers serve the emulator and a GPU.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/tensor_map.h"
#include "dsl/ir/dtype.h"

namespace quern_test {

/// Elements from row to row of a matrix in memory: whole 16 bytes.
constexpr int padded(int n) { return (n + 7) / 8 * 8; }

struct GroupProductCase {
  bool a_transposed = false;   // a lies as K x M
  bool b_transposed = true;    // false: b lies as N x K
  bool a_in_registers = false; // then not transposed
  int groups = 2;
  int rows = 100, columns = 80, depth = 150;
  quern::DType type = quern::DType::bf16;

  int row_tiles() const { return (rows + 64 * groups - 1) / (64 * groups); }
  int threads() const { return 128 * (1 + groups); }
  std::size_t shared_bytes() const;
  /// Parameter: map a, map b, then the addresses of a and y.
  std::string text() const;
};

/// Small integers in memory as the case wants them (rows padded to whole 16 bytes), and the exact result.
struct GroupProductData {
  explicit GroupProductData(const GroupProductCase& c);
  std::vector<std::uint16_t> a, b;
  std::vector<float> y;  // M x N
  /// Numbers of the two maps for a and b at these addresses.
  quern::cuda::MapNumbers map_of_a(std::uint64_t address) const;
  quern::cuda::MapNumbers map_of_b(std::uint64_t address) const;

 private:
  GroupProductCase case_;
};

}  // namespace quern_test
