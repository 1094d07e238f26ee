// Which nests of a kernel work on matrix fragments, and which tiles therefore live in registers.
// In: a tile kernel. Out: an arrangement, or none when the kernel has no sum of products that matrix instructions do.
// The one idea: one distribution of rows and columns over warps and lanes, that of the accumulators of mma.m16n8k16, serves
// every nest of the kernel that walks rows, or rows and one column index; a tile that is only met at the point at hand then
// needs no memory. Warp w of W has rows [16 R w, 16 R (w + 1)) of a block; lane l has rows l / 4 and l / 4 + 8 of each 16
// and columns 2 (l mod 4) and the next of each 8. Products of f32 have no such instruction, but gain as much from results
// in registers: the same lanes hold the same results, and a thread multiplies and adds what it reads from operand tiles
// (fma_products.cpp). Their warps may also stand side by side: each then has its share of the columns.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "compiler/ir/tile.h"

namespace quern::cuda {

enum class NestKind : std::uint8_t {
  flat,         // points dealt out to all threads, memory tiles only
  arranged,     // on fragments
  contraction,  // on fragments, by matrix instructions
  copy,         // fills a shared operand tile from global memory in 16-byte pieces, asynchronously
};

/// A sum of products over `inner`: target[row, column] += left[row, inner] * right[inner, column].
/// f32: also any reduction of an expression `body` of one read of a left and one of a right tile.
struct Contraction {
  ir::Expr left, right;      // small floats, casts to f32 taken off; or f32
  ir::Expr body;             // f32: what is reduced, with `left` and `right` in it
  ir::IndexId inner = 0, column = 0;
  bool bf16 = false;         // else f16
  bool left_in_registers = false;  // evaluated on fragments; else read from an operand tile
  bool bytes = false;        // by the machine's products of one-byte floats, which add in 14 bits
  std::vector<ir::TensorId> tiles;  // operand tiles that it reads
};

/// A tile in shared memory that matrix instructions read: rows of `pitch` elements, zeros beyond the extents.
struct OperandTile {
  std::vector<ir::IndexId> dims;  // 2, as it is subscripted; the last lies side by side
  std::int64_t rows = 0, columns = 0;  // padded to multiples of 16
  std::int64_t pitch = 0;         // 16 bytes more than `columns`: eight rows then lie in eight different banks (roles: swizzled, see Ring)
  std::int64_t bytes = 2;         // of an element
};

struct Arrangement {
  ir::IndexId row = 0;
  bool f32 = false;                           // products of f32
  int tf32 = 0;                               // of those: matrix instructions for each product, 1 or (more accurate) 3; 0: none
  int warps = 4;                              // that compute
  int column_warps = 1;                       // f32: warps with the same rows
  int column_groups = 1;                      // roles: groups of four warps with the same rows; each has a part of the columns
  std::set<ir::IndexId> parted;               // of these indices
  int row_tiles = 1;                          // 16 rows each, per warp
  std::map<ir::IndexId, int> column_tiles;    // 8 columns each, of a warp; even where there are matrix instructions
  std::set<ir::IndexId> wide_columns;         // f32: a lane has 4 neighbours of each 16, half of them in the odd tile
  std::map<const tile::Nest*, NestKind> kinds;
  std::map<const tile::Nest*, Contraction> contractions;
  std::vector<const tile::Nest*> products;      // the keys of `contractions`, as they stand in the kernel
  std::map<ir::TensorId, std::vector<ir::IndexId>> registers;  // the row, or the row and a column index
  std::map<ir::TensorId, OperandTile> operands;
  std::set<ir::TensorId> elements;            // of `operands`: read by nests on fragments at the point, not by products
  std::set<ir::TensorId> row_vectors;           // in memory, a value for each row of the block, filled before the first loop

  /// Lanes stand so that neighbours share what they read, not where matrix instructions have them.
  bool swapped_lanes() const { return f32 && tf32 == 0; }
  int rows() const { return 16 * row_tiles * (warps / (column_warps * column_groups)); }
  int columns(ir::IndexId column) const { return 8 * column_tiles.at(column) * column_warps * (parted.contains(column) ? column_groups : 1); }
};

std::optional<Arrangement> arrange(const ir::Program& program, const tile::Kernel& kernel);

/// Register tiles that hold, while a loop of the kernel runs, a part of the row's sum in each lane of a quad.
std::map<const tile::For*, std::set<ir::TensorId>> part_sums(const ir::Program& program, const tile::Kernel& kernel, const Arrangement& arrangement);

/// The most points that a dim can have and, where `end` is a minimum with the end of a whole block, the other bound.
struct DimExtent {
  std::int64_t most = 0;
  ir::Expr limit;  // none: the extent is `most` always
};
std::optional<DimExtent> extent_of(const ir::ExprPool& pool, const tile::Dim& dim);
/// a - b when that is a constant.
std::optional<std::int64_t> constant_difference(const ir::ExprPool& pool, ir::Expr a, ir::Expr b);

/// `index`, or `index` plus or minus what does not depend on it: neighbours of one are neighbours of the other.
bool steps_with(const ir::ExprPool& pool, ir::Expr subscript, ir::IndexId index);
/// What a copy reads, below the casts of its body.
ir::Expr copied_read(const ir::ExprPool& pool, const tile::Nest& copy);

}  // namespace quern::cuda
