// Lowering of one fused group to one kernel: shared state of lower_stages.cpp (a stage becomes a nest), lower_stream.cpp
// (reductions that run while the streamed index is walked), lower_masks.cpp and lower_references.cpp.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/ir/tile.h"
#include "compiler/passes/affine.h"
#include "compiler/passes/algebra.h"
#include "compiler/passes/plan_kernel.h"
#include "compiler/passes/stage.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

/// Where an intermediate of the group lives while a task runs: a scratch tensor over the indices that vary in a task.
struct Tile {
  ir::TensorId scratch = 0;
  std::vector<ir::IndexId> dims;
};

/// Comparisons of sorted data with what is free of `stream` become bounds of it, found by searches that run before the group:
/// a[n] == g becomes first <= n and n < last. Returns the searches; the group's domains read their results.
std::vector<Group> bound_by_order(ir::Program& program, Group& group, ir::IndexId stream);

class GroupLowering {
 public:
  GroupLowering(ir::Program& program, Group group, KernelPlan plan, const PlanInput& input, std::string name);
  tile::Kernel run();

  /// With KernelPlan::parts, after run(): the group that merges, and the tensors between; empty where nothing was parted.
  const Group& merging() const { return merging_; }
  std::vector<ir::TensorId> held() const;

 private:
  enum class Place { before, inside, after };
  /// A reduction over the streamed index, as it runs. Its stage's body is already what one point adds.
  struct Running {
    ir::TensorId previous = 0;          // stands for the value before this block; 0 = nobody asks
    std::optional<Shift> shift;         // how the state follows the running values that the body uses
    std::vector<ir::TensorId> sums;     // polynomial: stand for running sums 1, 2, ...
    std::vector<ir::TensorId> centres, next_centres;
    std::vector<ir::TensorId> uses;     // running values in the body
    std::vector<ir::IndexId> depends;   // their indices
    ir::Expr live;                      // true where the reduction has a point (for Shift::finish)
    ir::TensorId reference = 0;         // what sums are made with instead of this value, which may be ahead; 0 = the value
    ir::Expr reference_start, next_reference;  // over `previous`, the block before's reference, and this value
    ir::Expr settle;                    // behind the walk: the factor from the reference that this sum is made with to its value
  };

  // Structure of the kernel.
  void make_grid();
  void share_costly();
  void share(const std::function<bool(ir::Expr)>& costly);
  bool is_score(ir::Expr e) const;
  void stage_operands();
  void stage_elements(Stage& stage, std::unordered_map<ir::Expr, ir::Expr>& known, std::vector<Stage>& result);
  void place_stages();
  void make_tiles();
  bool prepare_running();
  std::optional<ir::Expr> has_point(const Stage& stage);
  std::vector<tile::Nest> masks();
  bool gathers() const;
  void choose_references();
  void emit_factor(tile::Block& out, const Stage& sum);
  void drop_unused();
  void keep_row_bounds();
  void bound_stream();
  ir::Expr rows_condition(Box& box);
  std::pair<ir::Expr, ir::Expr> bounds_in(ir::Expr condition, const Box& box, ir::Expr start, ir::Expr end);

  bool prepare_parts();
  std::int64_t tasks_at_once();
  void emit_part(tile::Block& out, const Stage& stage);

  // Indices.
  bool is_unit(ir::IndexId c) const;
  bool varies(ir::IndexId c) const { return !is_unit(c); }
  ir::Expr first(ir::IndexId c);
  ir::Expr stop(ir::IndexId c);
  ir::Expr padded_stop(ir::IndexId c);
  ir::Expr tile_extent(ir::IndexId c);
  std::vector<ir::IndexId> varying(const std::vector<ir::IndexId>& list) const;

  // Tiles.
  Tile make_tile(const std::string& name, DType type, std::vector<ir::IndexId> dims, std::optional<ir::IndexId> last);
  std::vector<ir::Expr> tile_subscripts(const Tile& tile);
  ir::Expr read_tile(const Tile& tile);
  ir::Expr localize(ir::Expr e);
  const Stage* producer(ir::TensorId tensor) const;
  bool used_inside_group(const Stage& stage) const;

  // Stages to statements.
  void emit(tile::Block& out, const Stage& stage);
  void emit_select(tile::Block& out, const Stage& stage);
  void emit_running(tile::Block& out, const Stage& stage);
  void emit_corrections(tile::Block& out, ir::TensorId updated);
  void emit_polynomial(tile::Block& out, const Stage& stage);
  void emit_finish(tile::Block& out, const Stage& stage);
  void emit_value(tile::Block& out, ir::TensorId to, const std::vector<ir::IndexId>& free, ir::Expr value, const std::string& note);
  ir::TensorId state_tensor(const std::string& name, DType type, const std::vector<ir::IndexId>& free);
  ir::Expr read_state(ir::TensorId tensor, const std::vector<ir::IndexId>& free);
  void emit_identity(tile::Block& out, const Stage& stage);
  void emit_copy_out(tile::Block& out, const Stage& stage);
  tile::Nest nest_for(const Stage& stage, const std::vector<ir::IndexId>& dims);
  tile::Update update_for(const Stage& stage);
  void bound_dims(tile::Nest& nest, tile::Update& u);
  std::optional<ir::IndexId> lane_for(const Stage& stage, const std::vector<ir::IndexId>& dims);
  /// A stage that computes `body` once per point of its indices, for others to read.
  Stage operand_stage(const std::string& name, std::size_t equation, const std::vector<ir::IndexId>& free, ir::Expr body);
  std::optional<ir::IndexId> turned_dim(const Stage& stage, const std::vector<ir::IndexId>& free, ir::IndexId lane);
  bool only_tiles_along(const Stage& stage, ir::IndexId lane) const;
  void push(tile::Block& out, tile::Nest nest);
  void store_row(tile::Block& out, const Stage& stage, std::size_t which, const Tile& row, ir::IndexId from, ir::IndexId to, ir::Expr value);
  std::string note_of(const Stage& stage) const;

  ir::Program& program_;
  ir::ExprPool& pool_;
  Group group_;
  KernelPlan plan_;
  const PlanInput& input_;
  tile::Kernel kernel_;
  std::map<ir::IndexId, ir::IndexId> block_start_;
  std::vector<Place> places_;
  std::unordered_map<ir::TensorId, Tile> tiles_;            // by the tensor they hold
  std::unordered_map<ir::TensorId, Tile> position_tiles_;   // argmax, argmin: `tiles_` has positions, this has values
  std::unordered_map<ir::TensorId, Running> running_;       // by target
  std::map<ir::Expr, ir::TensorId> settled_;                // last corrections, by value
  std::set<ir::TensorId> references_;                       // Running::reference of all
  std::map<std::pair<ir::Expr, std::vector<ir::IndexId>>, ir::TensorId> live_;         // by domain and axes
  std::map<std::pair<ir::Expr, std::vector<ir::IndexId>>, ir::TensorId> corrections_;  // by value and indices
  std::map<ir::Expr, std::pair<ir::Expr, ir::IndexId>> rising_;  // bounds of a row -> as they are in memory, the row index
  std::set<ir::TensorId> done_;                             // running values updated in what is being emitted
  Group merging_;
  std::map<ir::TensorId, ir::TensorId> held_;               // running value -> that of each part, in memory
  ir::IndexId part_ = 0;
  ir::Expr part_count_, part_blocks_;                       // blocks are dealt out evenly; none: the walk is whole
  ir::Expr stream_stop_, stream_start_;
  std::optional<tile::For::Own> own_;                       // of a warp group
  std::vector<ir::Expr> common_;                            // conjuncts shared by all reductions over the streamed index
  ir::Expr full_;                                           // true when they hold on the whole tile; none = unknown
  std::set<ir::Expr> assumed_;                              // conjuncts taken as true in what is being emitted
};

}  // namespace quern::compiler
