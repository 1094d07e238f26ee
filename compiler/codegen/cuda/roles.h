// Warp roles: one warp group fills operand tiles by tensor copies, the others compute by products of whole warp groups.
// In: an arranged kernel that asks for roles (tile::Kernel::groups). Out: who waits for what and when, as lists of steps, or
// why the kernel cannot be done so. The one idea: the barrier protocol is data; it is verified here, and printed without
// further thought by role_kernel.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/arrange.h"

namespace quern::cuda {

/// An operand tile in `stages` places, filled in turn. Rows of 128 bytes (64 elements, or 128 of one byte), swizzled; pieces
/// of so many columns follow each other.
struct Ring {
  ir::TensorId tile = 0;
  const tile::Nest* copy = nullptr;
  bool walked = false;                 // filled once a block of the loop; else once a task
  bool ahead = false;                  // read one block ahead of the others
  bool held = false;                   // released a block after it is read
  int stages = 2;
  std::int64_t rows = 0, pieces = 0;   // pieces of 128 bytes
  // The copy's source as a box: the axes that rows and columns run along.
  std::size_t row_axis = 0, column_axis = 0;
  bool only_whole = false;             // a partial block has to be zero beyond its end: no box does that
  // Values of one byte arrive in places of their own, from where widening warps (widening.cpp) bring them here.
  DType from = DType::bf16;            // in memory
  std::int64_t element_bytes = 2;      // in the tile
  int raw_stages = 0;
  bool widened() const { return size_of(from) == 1 && element_bytes == 2; }
  std::int64_t piece_columns() const { return 128 / element_bytes; }
  std::int64_t bytes() const { return rows * pieces * 128; }
  std::int64_t raw_bytes() const { return widened() ? rows * pieces * 64 : 0; }
};

/// A nest of the kernel, as it is for whole blocks and as it is for others; null: not needed there.
struct Work {
  const tile::Nest* whole = nullptr;
  const tile::Nest* partial = nullptr;
  bool masked = false;  // behind the masks: no tests, in no block
  std::vector<ir::TensorId> elements;  // tiles of rings that it reads at its points, not by products
  // A tile that no product needs any longer: results may pass through the group's rows of it on their way to memory.
  std::optional<ir::TensorId> through;
};

struct Step {
  enum Kind : std::uint8_t {
    await,    // until `tile` is filled
    release,  // the oldest stage of `tile` that is held may be filled again
    advance,  // the next stage of `tile` is at hand
    turn,     // until it is this group's turn to start products
    pass,     // the next group's turn
    issue,    // start the products of `work`, a group of their own
    finish,   // until at most `pending` groups of products are under way
    pack,     // round the left factor of `work` into registers of its own
    run,      // `work` on fragments
  };
  Kind kind = run;
  ir::TensorId tile = 0;
  Work work;
  int pending = 0;
};

struct Schedule {
  std::vector<Ring> rings;
  const tile::For* loop = nullptr;
  std::vector<tile::Expr> conditions;   // all hold: blocks are whole
  // Peeled: work on a block ends beside that on the next one. `first` and `steady` start a block, `steady` and `last` end the
  // one before. Else `first` and `last` are empty.
  bool peeled = false;
  std::vector<Step> before, first, steady, last, after;
  std::vector<Step> skipped;            // instead of steady, where no row of a group needs a block (tile::For::own)
  bool same_steps = false;              // but for masks, all blocks take the same
  std::int64_t shared_bytes = 0;        // rings and barriers
};

/// `room`: bytes of shared memory.
std::optional<Schedule> schedule_roles(const ir::Program& program, const tile::Kernel& kernel, const Arrangement& arrangement, std::int64_t room,
                                       std::string* why_not);

/// 32-bit registers that each computing thread holds in sums, packed factors and other tiles while products are under way.
int registers_held(const Arrangement& arrangement);
/// What values read from memory and indices that become floats take beside them while scores are worked on; the former at least
/// kScoresFromMemory.
inline constexpr int kScoresFromMemory = 56;
int registers_for_scores(const ir::Program& program, const Schedule& schedule, const Arrangement& arrangement);
/// What a computing thread can hold beside its other values before ptxas spills or serialises products (measured with
/// CUDA 13.0: 208 of 240 registers with two groups, 128 of 160 with three).
int registers_allowed(int groups);

/// Walks the steps of tasks with 0, 1, 2 and 3 blocks, of which a group needs all or (For::own) any run: every read is awaited, nothing is released while products read it or
/// read again after it, sums and factors are left alone while products use them, fills and releases match, turns are passed
/// on, and stages suffice. Empty, or the first fault.
std::string verify(const ir::Program& program, const Schedule& schedule, const Arrangement& arrangement);

}  // namespace quern::cuda
