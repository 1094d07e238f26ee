// plan_kernel: how one fused group becomes a loop structure. Decisions only; lower_to_tiles carries them out.
// An index of a group is, in its kernel, one of: a unit grid dimension (a task has one value of it), a blocked grid
// dimension (a task has a block of it), the streamed index (walked block by block while reductions over it run), or an
// inner index (each tile spans it whole).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "compiler/codegen/cpu/compile_cpu.h"
#include "compiler/passes/stage.h"

namespace quern::compiler {

/// Blocks of a kernel whose warps have roles (GPU, tile::Kernel::groups).
struct RoleShape {
  int groups = 0;                   // 64 rows each; 0 = none
  std::int64_t stream_block = 64;   // of a streamed index
  std::int64_t columns = 256;       // of a product's result
  int column_groups = 1;            // as in tile::Kernel
  bool references = true;           // sums may be made with references (lower_references.cpp), which take registers
};

struct KernelPlan {
  int lanes = 16;                               // elements of one vector
  std::optional<ir::IndexId> lane;              // runs in vector lanes wherever a stage has it
  std::map<ir::IndexId, std::int64_t> blocks;   // blocked grid dimensions
  std::optional<ir::IndexId> stream;
  std::int64_t stream_block = 64;
  int row_unroll = 12;                          // register tile of a stage with reuse: rows x vectors
  int lane_unroll = 2;
  bool parts = false;                           // GPU: the streamed index is walked in parts that are tasks of their own
  bool matrix = false;                          // GPU: every stage with reuse multiplies small floats
  bool f32 = false;                             // GPU: every stage with reuse reduces f32 to results in registers
  bool merges = false;                          // GPU: sums few parts; what they share is cheap
  int groups = 0, column_groups = 1;            // as in tile::Kernel
  bool references = true;                       // as in RoleShape
  ir::Expr when;                                // sizes that it is for; none: all
};

/// What the planner may assume.
struct PlanInput {
  cpu::Target target;
  std::vector<cpu::TensorLayout> layouts;  // by TensorId; missing: the last axis has stride 1
  bool gpu = false;                        // a task is done by a block of threads; a warp is a vector of 32 lanes
  std::map<std::size_t, RoleShape> roles;  // by kernel; for those that do nothing but products of small floats
};

KernelPlan plan_kernel(ir::Program& program, const Group& group, const PlanInput& input, const RoleShape& roles = {});

/// GPU: a plan for the calls in which few rows share a long walk, where `plan` is for many and the call brings their number.
std::optional<KernelPlan> plan_few_rows(ir::Program& program, const Group& group, const PlanInput& input, const KernelPlan& plan);

/// Element distance of neighbours along `index` in a read or store at these subscripts: 0 = the same element for all,
/// 1 = adjacent, other = far apart or unknown.
enum class Step { same, adjacent, far };
Step step_along(ir::Program& program, const PlanInput& input, ir::TensorId tensor, const std::vector<ir::Expr>& subscripts,
                ir::IndexId index);

/// Extent of an index when it is a constant.
std::optional<std::int64_t> constant_extent(ir::Program& program, ir::IndexId index);

}  // namespace quern::compiler
