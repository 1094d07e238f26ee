// One tile kernel as CUDA C++ text. In: a tile::Kernel. Out: a __global__ function and its launch. The one idea: a block of
// threads does one task of the grid at a time; the points of each nest are dealt out to its threads, tiles live in shared
// memory (or a slab of device memory where they do not fit), and barriers stand between nests that touch the same memory.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "compiler/codegen/cuda/arrange.h"
#include "compiler/codegen/cuda/compile_cuda.h"
#include "compiler/codegen/cuda/prelude_hopper.h"
#include "compiler/codegen/cuda/roles.h"
#include "compiler/ir/tile.h"
#include "compiler/passes/recurrences.h"

namespace quern::cuda {

/// What kernels of one module share.
struct ModuleText {
  const tile::Module& module;
  const CudaOptions& options;
  ir::Program program;  // of the module; printing adds size expressions to its pool
  std::set<std::pair<ir::TensorId, ir::TensorId>> may_share;  // input, output: possibly the same storage
};

/// Tiles of a ring of operands.
inline constexpr int kStages = 3;
/// Sums that a kernel with rows in registers may pass between warps, and the room for them.
inline constexpr int kRowPasses = 8;
inline constexpr int kRowExchangeBytes = kRowPasses * 32 * 12;
/// Room of quern_top: that of a warp, of a warp that may have four rows, of a block of 256 threads.
inline constexpr int kWarpTopBytes = 1280, kEighthsBytes = 4096, kTopBytes = 4480;

class KernelPrinter {
 public:
  KernelPrinter(ModuleText& shared, const tile::Kernel& kernel);
  /// The function's text; the launch is in `launch` afterwards. Nothing runs where `unless` holds.
  std::string run(ir::Expr unless = {});
  /// The same kernel with its rows in registers (rows.cpp), and the calls that it can take; nothing for most kernels.
  std::string run_rows();
  /// The same kernel with a warp for each task (warps.cpp), likewise.
  std::string run_warps();
  ir::Expr fit() const { return rows_ ? rows_->fit : warps_fit_; }
  KernelLaunch launch;
  std::set<GroupProduct> group_products;  // that the text calls
  bool has_roles() const { return schedule_.has_value(); }
  bool widens_operands = false;  // by functions of widening_prelude()

 private:
  // Text.
  std::string function(const std::string& bounds) const;
  void line(const std::string& text);
  void open(const std::string& text);   // text {
  void close(const std::string& tail = "");
  static std::string comment(const std::string& text);
  std::string fresh(const char* stem) { return fmt::format("{}{}", stem, next_name_++); }

  // Parameter words, by first use.
  std::string word(Word w);
  std::string tensor_pointer(ir::TensorId tensor);
  std::string stride(ir::TensorId tensor, std::size_t axis);  // elements; "1" where that is known

  // Expressions: each node is named once per scope.
  struct Scope {
    std::unordered_map<std::uint32_t, std::string> names;
  };
  std::string value(ir::Expr e);
  std::string define(ir::Expr e, const std::string& text);
  std::string read(ir::Expr e);
  std::string guarded_choice(ir::Expr e);
  struct ScaledDifference {
    ir::Expr score, from, by;
  };
  std::optional<std::pair<ir::Expr, double>> scaled_sum(ir::Expr e) const;
  std::optional<ScaledDifference> scaled_difference(ir::Expr e) const;
  std::string folded_exponent(ir::Expr e);
  bool touches_memory(ir::Expr e) const;  // global or shared
  void forget_reads();
  std::string offset_text(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts);
  struct CheckedAccess {
    std::string good, offset;  // texts: a condition, elements
  };
  CheckedAccess checked_access(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts);
  void store(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, const std::string& value, DType from);
  std::string stored_text(DType type, DType from, const std::string& text) const;
  void store_point(const tile::Update& update);
  std::string local_int(ir::Expr e);

  void all_warps();
  void decode_task();

  // Structure (kernel_printer.cpp, nests.cpp, selects.cpp).
  void lay_out();
  void find_sums();
  void find_scores(const tile::Block& block);
  std::int64_t operand_bytes(ir::TensorId tensor) const;
  std::int64_t arranged_bytes() const;
  void place_tiles();
  std::int64_t room() const;
  void block(const tile::Block& block);
  void statement(const tile::For& loop);
  void statement(const tile::If& branch);
  void statement(const tile::Nest& nest);
  void statement(const tile::Select& select);
  void select_top(const tile::Select& select);
  void selected_row(const tile::Select& select);
  bool fits_eighths() const;
  const tile::Nest* handing_out(ir::TensorId tile, ir::Expr count) const;

  // Barriers: what was touched since the last one.
  struct Touched {
    std::set<ir::TensorId> read, written;
  };
  void note_reads(ir::Expr e, Touched& out) const;
  Touched touched_by(const tile::Nest& nest) const;
  void settle(const Touched& next);
  void barrier();

  // Nests (nests.cpp).
  /// How the points of a nest are dealt out: each kept point to a team of threads, its reduced points among the team.
  struct Split {
    std::vector<std::size_t> kept, reduced;  // dims, the fastest last
    int team = 1;                            // threads that share a kept point; a power of two
    bool neighbours = true;                  // a team is consecutive threads; else threads a team's number apart
    int vector = 1;                          // consecutive points of the fastest dim that a thread takes at once
    bool kept_vector = false;                // that dim is a kept one, else a reduced one
    int threads = 256;                       // of the block
    int teams() const { return threads / team; }
  };
  /// One reduction or scan while its nest runs.
  struct Accumulation {
    std::size_t update = 0;
    DType type = DType::f32;
    std::string value, position;  // variables; position empty without one
    std::string stem;             // of names made for it
    std::string kept, seen;       // arrays: the best vector so far, the one at hand; empty: points come one by one
  };
  Split split_of(const tile::Nest& nest) const;
  void hoist_tiles(ir::Expr e, const std::vector<ir::IndexId>& moving, const std::set<ir::TensorId>& written);
  void loop_over(const tile::Nest& nest, const Split& split);
  bool is_separated(const tile::Nest& nest, std::size_t dim) const;
  std::optional<std::int64_t> extent_bound(const tile::Dim& dim) const;
  int access_score(const tile::Nest& nest, ir::IndexId index) const;
  DType accumulator_type(const tile::Update& update) const;
  void begin_sums(const tile::Nest& nest, std::vector<Accumulation>& sums, int vector = 1);
  void begin_best_vectors(const tile::Nest& nest, ir::IndexId along, int vector, std::vector<Accumulation>& sums);
  void end_best_vectors(std::vector<Accumulation>& sums);

  // Vectors (vectors.cpp): 16-byte accesses of flat nests.
  int vector_of(const tile::Nest& nest, std::size_t dim) const;
  bool lies_along(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, ir::IndexId index) const;
  bool is_always_inside(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts) const;
  struct VectorStore {
    std::string array;
    std::string address;
    std::string packed;  // the function that rounds an array of f32; empty: the array is as stored
  };
  std::vector<ir::Expr> reads_along(const tile::Nest& nest, ir::IndexId index) const;
  void load_vectors(const tile::Nest& nest, ir::IndexId index, int vector);
  void prepare_stores(const tile::Nest& nest, ir::IndexId index, int vector);
  enum class Ends {
    none,    // every vector is whole
    unseen,  // points behind the end are computed on zeros and forgotten
    tested,  // every point is tested
    either,  // whole vectors carry no test
  };
  void vector_points(const tile::Nest& nest, ir::IndexId index, int vector, const std::string& extent, Ends ends, std::vector<Accumulation>& sums,
                     const std::string& stores_where = "");
  // Batches (batches.cpp): several steps of a walk whose loads are all under way before the first is used.
  struct Walk {
    std::size_t dim, along;            // walked; that vectors lie along
    int vector;
    std::string begin, extent, along_extent;  // of the walked dim, of the vectors' dim
    std::string type, first;           // of the count; where this thread starts
    int step;                          // and how far it goes
  };
  void batches(const tile::Nest& nest, const Walk& walk, std::vector<Accumulation>& sums);
  int points_at_once(const tile::Nest& nest, const Split& split, double points) const;
  void point_batches(const tile::Nest& nest, ir::IndexId along, const Split& split, int at_once, const std::string& extent, const std::function<void()>& locate, int opened);
  void store_vectors();
  std::optional<std::size_t> unit_axis(ir::TensorId tensor) const;
  void at_point(const tile::Nest& nest, std::vector<Accumulation>& sums);
  int open_domain(ir::Expr domain);
  void close_domain(int opened);
  void combine_team(const Split& split, const tile::Update& update, const Accumulation& sum);
  using Store = void (KernelPrinter::*)(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, const std::string& value, DType from);
  void finish(const tile::Update& update, const Accumulation& sum, Store to = &KernelPrinter::store);
  void scan_step(const tile::Update& update, const Accumulation& sum);
  void scatter(const tile::Update& update);
  std::string combined(const tile::Update& update, DType type, const std::string& a, const std::string& b) const;
  std::string identity(ir::Reducer reducer, DType type);
  void flat_nest(const tile::Nest& nest);

  // Scans (scans.cpp).
  using Recurrence = compiler::Recurrence;
  std::optional<Recurrence> scan_of(const tile::Nest& nest);
  int scan_items(const Recurrence& r) const;
  int record_words(const Recurrence& r) const;
  void find_scans(const tile::Block& block);
  void scan_nest(const tile::Nest& nest, const Recurrence& r);

  // Rows in registers (rows.cpp, row_nests.cpp).
  struct Rows {
    ir::IndexId column = 0;                      // what the nests reduce over
    ir::Expr begin, end;                         // its bounds
    std::map<ir::IndexId, std::size_t> of_grid;  // a nest's row dims: dims of the grid
    std::set<ir::TensorId> row_tiles, column_tiles;
    std::vector<ir::Expr> held;                  // reads that more than one nest makes
    int vector = 4, chunks = 4;                  // a thread has `chunks` pieces of `vector` neighbours
    int width = 0;                               // threads of a row; 0: the call says
    bool exact = false;                          // every thread has all of its chunks
    ir::Expr fit;                                // the calls whose rows fit
    int each() const { return vector * chunks; }
  };
  bool find_rows();
  bool find_row_dims(Rows& rows, const std::vector<const tile::Nest*>& nests) const;
  bool find_row_tiles(Rows& rows, const std::vector<const tile::Nest*>& nests) const;
  bool find_row_vectors(Rows& rows, const std::vector<const tile::Nest*>& nests);
  bool meets_row(const Rows& rows, const tile::Nest& nest, const std::vector<ir::Expr>& subscripts, bool& at_column) const;
  bool reads_unheld(ir::TensorId tensor) const;
  void row_nest(const tile::Nest& nest, int& passes);
  void row_values(const tile::Nest& nest);
  void hold(ir::Expr read, const std::string& name);
  void combine_row(const tile::Update& update, const Accumulation& sum, int pass);
  void store_row(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, const std::string& value, DType from);

  // Blocks of results in registers (register_blocks.cpp).
  struct RegisterBlock {
    std::size_t row = 0, column = 0, inner = 0;     // dims of the nest
    int rows = 1, columns = 1;                      // results of a thread
    int vector = 4;                                 // steps along the reduced dim that one load brings
    std::vector<ir::Expr> row_reads, column_reads;  // tiles without columns, without rows
  };
  std::optional<RegisterBlock> register_block(const tile::Nest& nest) const;
  void find_register_blocks(const tile::Block& block);
  void blocked_nest(const tile::Nest& nest, const RegisterBlock& block);

  // A warp for each task (warps.cpp).
  bool find_warps();
  int threads() const { return by_warp_ ? 32 : launch.threads; }  // that do a task

  // Fragments (fragments.cpp); only with an arrangement.
  bool in_registers(ir::TensorId tensor) const;
  bool is_filled(ir::TensorId tensor) const;
  void load_pairs(const tile::Nest& nest, const tile::Dim& column);
  std::string register_element(ir::TensorId tensor) const;
  bool is_constant_of_task(ir::Expr read) const;
  void declare_registers();
  /// Every point up to `padded` exists.
  bool fills(const tile::Dim& dim, std::int64_t padded) const;
  std::string limit_text(const tile::Dim& dim, std::int64_t padded);
  void open_rows(const tile::Dim& row);
  void declare_row(const tile::Dim& row, const char* of_lane = " + lane / 4");
  void open_columns(const tile::Dim& column, int tiles);
  std::optional<ir::IndexId> column_in(ir::Expr e) const;
  std::optional<ir::Expr> at_first_column(ir::Expr e);
  void declare_column(const tile::Dim& column);
  void close_loops();
  void forget(const tile::Dim& dim);
  void hoist(ir::Expr e, ir::IndexId column, const std::set<ir::TensorId>& written);
  bool by_size_of_arguments(const tile::Nest& nest, const tile::Dim& row, const tile::Dim& column);
  bool largest_by_integers(const tile::Nest& nest, const tile::Dim& row, const tile::Dim& column);
  void fragment_nest(const tile::Nest& nest);
  bool is_in_parts(ir::TensorId tensor) const;
  void combine_parts(const tile::For& loop);
  bool stores_quads(const tile::Nest& nest, const tile::Dim& dim) const;  // these five: quads.cpp
  std::map<std::size_t, std::pair<ir::Expr, ir::Expr>> take_common_choices(tile::Nest& nest);
  void quad_nest(const tile::Nest& nest, const tile::Dim& row, const tile::Dim& column, bool along_rows);
  void store_through(const Ring& r, const tile::Update& u, const std::string& words, const tile::Dim& row, const tile::Dim& column, const std::string& row_limit,
                     const std::string& columns);
  void quad_words(const tile::Nest& nest, const tile::Dim& column, const std::string& column_limit,
                  const std::map<std::size_t, std::string>& words, const std::string& at);
  void contraction_nest(const tile::Nest& nest);
  // Products of f32 (fma_products.cpp).
  void declare_lanes();
  void whole_or_not(const tile::Nest& nest);
  void load_columns(const tile::Nest& nest, const tile::Dim& row, const tile::Dim& column, const std::string& column_limit);
  bool best_of_columns(const tile::Nest& nest, const tile::Dim& row, const tile::Dim& column, bool memory);
  std::int64_t passed_bytes(const Contraction& c) const;
  std::int64_t passed_pitch(const Contraction& c) const;
  void fma_nest(const tile::Nest& nest);
  void tf32_nest(const tile::Nest& nest);
  void pass_left(const tile::Nest& nest, const Contraction& c, const tile::Dim& row, const tile::Dim& inner);
  bool meets_column_warps(const tile::Nest& nest) const;
  void pass_to_column_warps(const Accumulation& sum, std::size_t number, const std::string& row);
  void take_from_column_warps(const tile::Update& update, Accumulation& sum, std::size_t number, const std::string& row);
  int quad_step(int step) const;
  std::string quad_mask() const;
  std::string first_of_row() const;
  std::string row_warp() const { return arranged_->f32 ? "row_warp" : arranged_->column_groups > 1 ? "warp % 4" : "warp"; }
  std::string first_column(ir::IndexId column) const;
  std::string column_of_lane(ir::IndexId column) const;
  std::string column_of_point(ir::IndexId column) const;
  void left_fragments(const tile::Nest& nest, const Contraction& c, const tile::Dim& row, const tile::Dim& inner,
                      const std::string& inner_limit, const std::string& row_limit, const std::string& to);
  static const tile::Dim& dim_of(const tile::Nest& nest, ir::IndexId index);
  void start_sums(const tile::Nest& nest);
  std::optional<ir::Expr> column_limit_of(ir::Expr e);
  void hoist_limit(ir::Expr e, ir::Expr limit);
  std::optional<ir::Expr> column_base_of(ir::Expr e);
  void hoist_base(ir::Expr e, ir::Expr base);

  // Roles (role_kernel.cpp); only with a schedule.
  void role_kernel();
  void place_rings();
  std::optional<std::size_t> outer_dim() const;
  std::optional<std::size_t> longer_dim() const;
  std::string loads_alone();
  bool only_boxes_ = false;  // what is printed is done by one thread, and all tiles come in boxes
  void each_task(bool loading, const std::function<void()>& body);
  void decode_sections(std::size_t outer, bool longest_first);
  void loading_role();
  void computing_role();
  void each_fill(bool loading, const std::function<void(const Ring&)>& take);
  std::string comes_in_boxes(const Ring& ring);
  std::string box_coordinates(const Ring& ring, const std::string& piece);
  bool is_one_box(const Ring& ring) const;
  void start_boxes(const Ring& ring);
  void fill_boxes(const Ring& ring);
  void fill(const Ring& ring);
  // Tiles of one-byte values (widening.cpp).
  static constexpr int kWideningWarps = 3;
  bool widens() const;
  int loading_threads() const { return widens() ? 32 : 128; }  // that copy what is no box
  static std::int64_t raw_columns(const Ring& ring);
  void place_raw(const Ring& ring, std::int64_t& raw, std::int64_t& barriers);
  void fill_raw(const Ring& ring);
  void widening_role();
  void widen(const Ring& ring);
  void skip_blocks(const std::string& condition);
  void walk_blocks(const std::string& x, const std::string& end);
  void walk(const std::vector<Step>& steps, bool whole);
  void do_step(const Step& step, bool whole);
  std::string operand_name(const Contraction& c, std::size_t side) const;
  void issue_products(const tile::Nest& nest);
  GroupProduct group_product(const Contraction& c, const tile::Dim& inner) const;
  void pack_factor(const tile::Nest& nest);
  const Ring& ring_of(ir::TensorId tile) const;
  std::string whole_block(const tile::For& loop, bool with_memory, std::set<ir::Expr>& ends);
  void with_index(ir::IndexId index, const std::string& name, const std::function<void()>& body);

  // Asynchronous copies (copies.cpp).
  struct Pipeline {
    std::vector<const tile::Statement*> body;            // of the loop; with masks, without tests
    std::vector<std::size_t> waits;                      // statements of the body that need a group first
    std::vector<std::vector<const tile::Nest*>> groups;  // copies, by the wait they belong to
    int stages = 1;                                      // more: one group, in a ring of tiles
    bool at_end = false;                                 // the first group's tiles are read until the body ends
  };
  void issue_copy(const tile::Nest& nest, const std::string& to);
  std::string row_distance(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, ir::IndexId index);
  void copy_nest(const tile::Nest& nest);
  void reads_of(const tile::Statement& statement, std::set<ir::TensorId>& out) const;
  Pipeline pipeline_of(const tile::For& loop) const;
  bool in_pipeline(const Pipeline& pipeline, const tile::Nest* nest) const;
  void pipelined_loop(const tile::For& loop, const Pipeline& pipeline);
  std::optional<std::size_t> place_of_masks(const tile::For& loop) const;
  void masked_statement(const tile::Statement& s, std::size_t i);
  bool lengthens_loops(const tile::Block& block, ir::IndexId index) const;
  void find_rings(const tile::Block& block);

  struct TilePlace {
    std::string base;                  // text of the typed pointer
    std::vector<std::string> strides;  // elements, per axis
  };

  ModuleText& shared_;
  ir::Program& program_;
  ir::ExprPool& pool_;
  const tile::Kernel& kernel_;
  std::string head_, text_;
  int depth_ = 1;
  int next_name_ = 0;
  std::vector<Scope> scopes_;
  std::map<std::tuple<int, std::uint32_t, int>, std::size_t> words_;
  std::set<std::string> declared_;
  std::unordered_map<ir::IndexId, std::string> indices_;    // i64 variables in reach
  std::unordered_map<ir::IndexId, ir::Expr> local_begin_;   // dims of the nest at hand: d<id> = index - begin
  std::unordered_map<ir::TensorId, TilePlace> tiles_;
  std::string accumulator_[2], previous_;
  Touched touched_;
  bool uses_exchange_ = false;
  std::int64_t scan_bytes_ = 0;         // shared memory of items of scans
  std::vector<std::string> task_counts_;  // along each dim of the grid
  bool selects_ = false;                // quern_top is called: it has a room of its own size
  std::set<const tile::Nest*> handed_out_;  // nests whose stores a selection has made
  bool scans_in_shared_ = false;        // of 4-byte values: registers hold little
  bool copies_chain_ = false;           // chunks of a chain come from memory as they are: few registers do
  std::string links_;                   // chained kernels: tasks of one chain
  std::unordered_map<std::uint32_t, std::string> vector_reads_;  // read -> the array that holds the vector
  std::unordered_map<std::uint32_t, std::string> pairs_;         // read -> two small floats in a word
  std::map<std::size_t, VectorStore> vector_stores_;             // by update of the nest
  std::size_t update_ = 0;                                       // being printed
  std::string team_mask_ = "team_mask";
  std::optional<Arrangement> arranged_;
  std::optional<Rows> rows_;
  std::map<const tile::Nest*, RegisterBlock> register_blocks_;
  std::set<ir::TensorId> padded_;       // tiles whose rows are 16 bytes longer
  bool by_warp_ = false;
  bool by_eighths_ = false;             // four rows to a warp where they are short
  ir::Expr warps_fit_;                  // the calls for which a warp does a task
  std::int64_t warp_bytes_ = 0;         // shared memory of each
  std::string meet_ = "__syncthreads();";
  std::optional<Schedule> schedule_;
  std::set<ir::Expr> loop_ends_;        // of the loop's blocks that may end early
  std::string is_whole_;                // a variable: the block at hand is whole; empty: known from where it stands
  std::optional<ir::TensorId> through_;   // of the step at hand (Work::through)
  std::vector<const tile::Nest*> flying_;  // products under way, oldest first
  bool in_fragment_ = false;
  std::set<ir::Expr> small_arguments_;     // functions known to have such (small_form)
  bool voted_ = false;                     // the size of arguments is known
  std::map<const tile::For*, std::set<ir::TensorId>> part_sums_;  // of loops that are not yet done
  std::string column_guard_;            // true where the column at hand exists; empty: it does
  ir::Expr column_begin_;               // of the columns at hand
  std::unordered_map<std::uint32_t, std::string> column_limits_;  // comparison -> bound of the column's count
  std::unordered_map<std::uint32_t, std::string> column_bases_;   // f32 of an index -> its text
  std::set<ir::TensorId> scores_;       // register tiles that are sums of products, or f32 computed from such
  std::set<ir::TensorId> long_sums_;    // register tiles that are sums of 16 products and more
  std::set<ir::TensorId> rings_;        // operand tiles that are rings of stages
  std::set<ir::TensorId> pending_;      // tiles with copies under way
  std::set<ir::Expr> whole_ends_;       // ends of blocks that are known to be whole
  std::set<ir::Expr> partial_ends_;     // of which one at least is known not to be
  struct Masked {                       // the loop being printed, where masks take the place of its tests
    const tile::For* loop = nullptr;
    std::size_t last = 0;               // statement behind which the masks stand
    std::string whole;                  // name of what tells whether the block is whole
    std::set<ir::Expr> ends;
  } masked_;
};

/// Device functions for blocks of threads: best-of pairs, shuffles, division of counts.
std::string block_prelude();
/// Device functions that select the first few of a row, and sort.
std::string select_prelude();

}  // namespace quern::cuda
