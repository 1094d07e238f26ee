// Choice of lane, blocks and streamed index for one group, from how its stages touch memory.
#include "compiler/passes/plan_kernel.h"

#include <algorithm>
#include <limits>
#include <set>

#include "compiler/passes/affine.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

std::optional<std::int64_t> constant_extent(Program& program, IndexId index) {
  const Index& i = program.indices[index];
  std::int64_t v = 0;
  if (program.pool.is_integer_constant(program.pool.sub(i.end, i.begin), &v)) return v;
  return std::nullopt;
}

Step step_along(Program& program, const PlanInput& input, TensorId tensor, const std::vector<Expr>& subscripts, IndexId index) {
  const Tensor& t = program.tensors[tensor];
  Step step = Step::same;
  for (std::size_t axis = 0; axis < subscripts.size(); ++axis) {
    if (!program.pool.depends_on(subscripts[axis], index)) continue;
    bool unit = axis + 1 == subscripts.size();
    if (t.role != Role::temp && t.role != Role::scratch && tensor < input.layouts.size() && !input.layouts[tensor].dense &&
        axis < input.layouts[tensor].strides.size())
      unit = input.layouts[tensor].strides[axis] == cpu::StrideClass::one;
    const auto f = affine(program.pool, subscripts[axis], {index});
    if (step != Step::same || !unit || !f || f->terms.at(index) != 1) return Step::far;
    step = Step::adjacent;
  }
  return step;
}

namespace {

struct Planner {
  Program& program;
  const Group& group;
  const PlanInput& input;
  RoleShape roles;
  std::set<TensorId> local;  // computed in this group
  KernelPlan plan;

  Planner(Program& p, const Group& g, const PlanInput& in, const RoleShape& r) : program(p), group(g), input(in), roles(r) {
    for (const Stage& s : group.stages) for (TensorId t : s.targets) local.insert(t);
  }

  bool in_grid(IndexId i) const { return std::find(group.grid.begin(), group.grid.end(), i) != group.grid.end(); }

  std::set<IndexId> classes() const {
    std::set<IndexId> out;
    for (const Stage& s : group.stages) {
      out.insert(s.free.begin(), s.free.end());
      out.insert(s.axes.begin(), s.axes.end());
    }
    return out;
  }

  int widest() const {
    int bytes = 4;
    auto see = [&](DType t) { if (t == DType::f64) bytes = 8; };
    for (const Stage& s : group.stages) {
      for (TensorId t : s.targets) see(program.tensors[t].type);
      for_each_node(program.pool, s.body, [&](Expr, const Node& n) { see(n.type); });
    }
    return bytes;
  }

  bool can_be_lane(IndexId c) const {
    for (const Stage& s : group.stages) {
      if (s.form == Form::scatter && !in_grid(c)) return false;
      if (s.form != Form::scan && s.is_sequential(c)) return false;
    }
    return true;
  }

  /// How badly the memory accesses fit if `c` runs in lanes. Accesses weigh by the number of loops around them.
  double cost(IndexId c) {
    double total = 0;
    const auto extent = constant_extent(program, c);
    for (const Stage& s : group.stages) {
      std::size_t loops = std::set<IndexId>(s.free.begin(), s.free.end()).size();
      for (IndexId a : s.axes) loops += !s.is_free(a);
      double weight = 1;
      for (std::size_t i = 0; i < loops; ++i) weight *= 16;
      const bool reuse = has_reuse(program, s);
      double stage = 0;
      if (!s.has(c)) {
        stage += 12;  // runs without vectors
      } else {
        for_each_read(program.pool, s, [&](Expr e, const Node& n) {
          if (local.contains(static_cast<TensorId>(n.payload))) return;
          const Step step = step_along(program, input, static_cast<TensorId>(n.payload), n.args, c);
          if (step == Step::same) stage += 0.2;
          else if (step == Step::adjacent) stage += 1;
          // A strided operand that is used again along another index is packed once.
          else stage += reuse && lacks_some(s, e) ? 2 : 10;
        });
        if (s.reduces(c)) stage += reuse ? 8 : 0.5;
        if (s.is_sequential(c)) stage += 4;
        if (s.stored && !s.reduces(c) && step_along(program, input, s.targets[0], s.subscripts, c) == Step::far) stage += reuse ? 1 : 6;
      }
      if (extent && *extent < plan.lanes) stage *= static_cast<double>(plan.lanes) / std::max<std::int64_t>(*extent, 1);
      total += stage * weight;
    }
    return total;
  }

  bool lacks_some(const Stage& s, Expr read) const {
    return std::any_of(s.free.begin(), s.free.end(), [&](IndexId i) { return !program.pool.depends_on(read, i); });
  }

  bool any_reuse() const {
    return std::any_of(group.stages.begin(), group.stages.end(), [&](const Stage& s) { return has_reuse(program, s); });
  }

  /// Reduced by a stage and spanned by an intermediate that has no storage: its blocks can be dropped as they are done.
  std::optional<IndexId> choose_stream() {
    std::set<IndexId> spanned;
    for (const Stage& s : group.stages)
      if (!s.stored) spanned.insert(s.free.begin(), s.free.end());
    for (const Stage& s : group.stages)
      for (IndexId a : s.axes) {
        if (s.form != Form::reduce || !spanned.contains(a) || in_grid(a)) continue;
        const bool whole = std::any_of(group.stages.begin(), group.stages.end(), [&](const Stage& t) {
          return t.is_sequential(a) || (t.stored && t.is_free(a));
        });
        const auto extent = constant_extent(program, a);
        if (!whole && any_reuse() && !(extent && *extent <= 32)) return a;
      }
    // A plain contraction: long sums go block by block, so that packed operands stay in cache.
    for (const Stage& s : group.stages)
      if (has_reuse(program, s) && blocked_row() && s.axes.size() == 1) {
        const auto extent = constant_extent(program, s.axes[0]);
        const bool alone = std::all_of(group.stages.begin(), group.stages.end(),
                                       [&](const Stage& t) { return &t == &s || !t.has(s.axes[0]); });
        if (alone && !(extent && *extent <= (input.gpu ? 32 : 1024))) return s.axes[0];
      }
    return std::nullopt;
  }

  /// A sum of products of small floats: what matrix instructions do.
  bool multiplies_small_floats(const Stage& s) const {
    const Node& n = program.pool[s.body];
    return s.reducer == Reducer::sum && n.op == Op::mul && std::all_of(n.args.begin(), n.args.end(), [&](Expr f) {
      const Node& c = program.pool[f];
      return c.op == Op::cast && is_small_float(program.pool.type(c.args[0]));
    });
  }

  /// A reduction of f32 whose results a thread holds in registers (arrange.h).
  bool reduces_f32(const Stage& s) const {
    return s.form == Form::reduce && s.axes.size() == 1 && program.pool.type(s.body) == DType::f32 &&
           (s.reducer == Reducer::sum || s.reducer == Reducer::max || s.reducer == Reducer::min);
  }

  /// Indices of the grid that some operand of every product lacks: rows of matrix instructions.
  std::vector<IndexId> rows_of_products() const {
    std::vector<IndexId> rows;
    for (IndexId c : group.grid) {
      const bool reused = can_be_lane(c) && std::all_of(group.stages.begin(), group.stages.end(), [&](const Stage& s) {
        if (!has_reuse(program, s)) return true;
        bool lacking = false;
        for_each_read(program.pool, s, [&](Expr e, const Node&) { lacking |= program.pool.depends_on_any(e, s.axes) && !program.pool.depends_on(e, c); });
        return lacking && s.has(c);
      });
      if (reused) rows.push_back(c);
    }
    return rows;
  }

  /// The last of them walks memory in the smallest steps; a short one would leave most rows empty.
  std::optional<IndexId> row_of_products() const {
    std::optional<IndexId> best;
    bool best_short = true;
    for (IndexId c : rows_of_products()) {
      const auto extent = constant_extent(program, c);
      const bool is_short = extent && *extent < 16;
      if (best && is_short && (!best_short || constant_extent(program, *best).value_or(0) > *extent)) continue;
      best = c, best_short = is_short;
    }
    return best;
  }

  /// The most results that a product has for a row.
  std::int64_t widest_result() const {
    std::int64_t widest = 1;
    for (const Stage& s : group.stages) {
      if (!has_reuse(program, s)) continue;
      for (IndexId i : s.free)
        if (!in_grid(i) && !(plan.stream && i == *plan.stream))
          if (auto extent = constant_extent(program, i)) widest = std::max(widest, *extent);
    }
    return widest;
  }

  /// Fewer blocks of rows than a large GPU (132 multiprocessors) has room for: smaller ones, and parts of the walk as tasks.
  std::optional<KernelPlan> few_rows_f32() {
    if (plan.parts || !plan.stream || plan.blocks.size() != 1) return std::nullopt;
    constexpr std::int64_t kTasks = 66;
    ExprPool& pool = program.pool;
    Expr tasks = pool.integer(1);
    for (IndexId i : group.grid) {
      const std::int64_t block = plan.blocks.contains(i) ? plan.blocks.at(i) : 1;
      tasks = pool.mul(tasks, pool.apply(Op::floordiv, {pool.add(extent(program, i), pool.integer(block - 1)), pool.integer(block)}));
    }
    plan.when = pool.apply(Op::le, {tasks, pool.integer(kTasks)});
    if (pool.is_constant(plan.when) && !pool.is_true(plan.when)) return std::nullopt;
    if (widest_result() <= 128) plan.blocks[*plan.lane] = 32;
    plan.stream_block = 64;
    plan.parts = true;
    return plan;
  }

  /// `whole` is for many rows. Where several indices share what is walked, the rows are one that is not its lane (heads that share
  /// keys, one token each); the others are few too, because each of their values walks on its own.
  std::optional<KernelPlan> few_rows(const KernelPlan& whole) {
    plan = whole;
    if (whole.f32) return few_rows_f32();
    if (!whole.matrix || whole.parts || !whole.stream || !whole.lane || whole.blocks.size() != 1 || widest_result() > 256) return std::nullopt;
    constexpr std::int64_t kBlock = 16, kBlocks = 4, kOthers = 8;
    const auto rows = rows_of_products();
    IndexId row = *whole.lane;
    for (IndexId c : rows)
      if (c != *whole.lane && constant_extent(program, c).value_or(kBlock) > 2) row = c;
    // Rows of one index only: parts would win where batch and heads are few; two plans take twice as long to compile.
    if (row == *whole.lane && rows.size() == 1) return std::nullopt;
    Expr others = program.pool.integer(1);
    for (IndexId c : rows) if (c != row) others = program.pool.mul(others, extent(program, c));
    plan.when = program.pool.apply(Op::le, {extent(program, row), program.pool.integer(kBlock * kBlocks)});
    const Expr few_others = program.pool.apply(Op::le, {others, program.pool.integer(kOthers)});
    if (program.pool.is_true(plan.when)) plan.when = few_others;
    else if (!program.pool.is_true(few_others)) plan.when = program.pool.both(plan.when, few_others);
    if (program.pool.is_constant(plan.when) && !program.pool.is_true(plan.when)) return std::nullopt;
    plan.lane = row;
    plan.blocks = {{row, kBlock}};
    plan.stream_block = 64;
    plan.groups = 0, plan.column_groups = 1;
    plan.parts = true;
    return plan;
  }

  /// Products and the like of f32: results in registers, 128 of a thread at most beside what it reads.
  void block_f32(std::optional<IndexId> row) {
    plan.f32 = true;
    plan.stream = choose_stream();
    const std::int64_t widest = widest_result();
    plan.blocks[*plan.lane] = widest <= 128 ? 128 : 64;
    if (row) plan.blocks[*row] = 128;
    plan.stream_block = row || (widest > 64 && widest <= 128) ? 32 : widest == 1 ? 128 : 64;
  }

  /// A block of threads does a task: blocks of rows and lanes small enough for shared memory, long sums walked block by
  /// block, and enough points for every thread where there is nothing to share.
  void block_for_threads(bool reuse) {
    if (reuse && plan.lane && in_grid(*plan.lane)) {
      // Matrix instructions: 128 rows for 4 warps, fewer where wide results need the registers.
      bool matrix = true, f32 = true;
      for (const Stage& s : group.stages) {
        if (!has_reuse(program, s)) continue;
        matrix &= multiplies_small_floats(s);
        f32 &= reduces_f32(s);
      }
      const std::int64_t widest = widest_result();
      const auto row = blocked_row();
      // Few rows: one warp, and parts of the walk as tasks, so that enough of memory is on its way.
      const auto lane_extent = constant_extent(program, *plan.lane);
      const bool few = matrix && !row && lane_extent && *lane_extent <= 16;
      if (matrix && roles.groups > 0 && !few) {
        plan.groups = roles.groups;
        plan.matrix = true;
        plan.column_groups = roles.column_groups;
        plan.references = roles.references;
        plan.blocks[*plan.lane] = 64 * roles.groups / roles.column_groups;
        if (row) plan.blocks[*row] = roles.columns;
        plan.stream = choose_stream();
        plan.stream_block = row ? 64 : roles.stream_block;
        return;
      }
      if (f32 && !matrix) return block_f32(row);
      const std::int64_t rows = few ? 16 : matrix && widest <= 128 ? 128 : 64;
      plan.matrix = matrix;
      plan.blocks[*plan.lane] = rows;
      if (row) plan.blocks[*row] = rows;
      // Without matrix instructions a thread has 4 x 8 results, where there are enough of them for all multiprocessors.
      if (const auto extent = constant_extent(program, *plan.lane); row && !matrix && !(extent && *extent < 2048)) plan.blocks[*plan.lane] = 128;
      plan.stream = choose_stream();
      // Rows of more than 64 results leave registers for 32 scores at a time.
      plan.parts = few && plan.stream && widest <= 256;
      plan.stream_block = (row && !matrix) || (matrix && !row && rows == 128 && widest > 64) ? 32 : 64;
      return;
    }
    if (group.stages.size() == 1 && group.stages[0].form == Form::scan && !group.grid.empty()) {
      // A warp for each row, or a lane for each column.
      const Stage& s = group.stages[0];
      for (IndexId i : group.grid)
        if (step_along(program, input, s.targets[0], s.subscripts, i) == Step::adjacent) plan.blocks[i] = 32;
      if (plan.blocks.empty()) plan.blocks[group.grid.back()] = 8;
      return;
    }
    // Rows that are sorted or selected from come one by one, with all threads at each.
    if (std::any_of(group.stages.begin(), group.stages.end(), [](const Stage& s) { return s.form == Form::topk || s.form == Form::sort; })) return;
    // Kept points of a task: as many as there are threads to work on them, a few each.
    std::int64_t points = 1, inside = 1;
    for (const Stage& s : group.stages) {
      std::int64_t own = 1;
      for (const auto* list : {&s.free, &s.axes})
        for (IndexId i : *list) {
          if (in_grid(i) || (list == &s.axes && s.is_free(i))) continue;
          const auto extent = constant_extent(program, i);
          own *= std::max<std::int64_t>(1, extent ? *extent : 1024);
          own = std::min<std::int64_t>(own, 1 << 20);
        }
      inside = std::max(inside, own);
    }
    points = inside;
    constexpr std::int64_t kWanted = 2048;
    // An index that bounds a long walk has a task for each value: then the walk can end where its bound says.
    auto bounds_walk = [&](IndexId i) {
      return std::any_of(group.stages.begin(), group.stages.end(), [&](const Stage& s) {
        const auto parts = conjuncts(program.pool, s.domain);
        return s.form == Form::reduce && std::any_of(parts.begin(), parts.end(), [&](Expr c) {
          return program.pool.depends_on(c, i) && program.pool.depends_on_any(c, s.axes);
        });
      });
    };
    auto take = [&](IndexId i, std::int64_t most) {
      if (points >= kWanted || plan.blocks.contains(i) || (inside >= 256 && bounds_walk(i))) return;
      const auto extent = constant_extent(program, i);
      std::int64_t block = std::min(most, (kWanted + points - 1) / points);
      if (extent) block = std::min(block, std::max<std::int64_t>(*extent, 1));
      if (block <= 1) return;
      plan.blocks[i] = block;
      points *= block;
    };
    if (plan.lane && in_grid(*plan.lane)) {
      // Whole runs of memory, however long the sums inside are.
      const auto extent = constant_extent(program, *plan.lane);
      // Rows of unknown length may be short: several of them then keep all threads busy.
      take(*plan.lane, inside > 1 ? 128 : !extent && group.grid.size() > 1 ? 256 : 1024);
      if (inside > 1) plan.blocks[*plan.lane] = std::min<std::int64_t>(128, extent ? std::max<std::int64_t>(*extent, 1) : 128);
    }
    for (std::size_t k = group.grid.size(); k-- > 0;) take(group.grid[k], 64);
  }

  KernelPlan run() {
    plan.lanes = std::max(1, input.target.vector_bytes / widest());
    const bool rich = input.target.registers >= 32;
    const bool reuse = any_reuse();
    double best = std::numeric_limits<double>::infinity();
    for (IndexId c : classes()) {
      if (!can_be_lane(c) || (reuse && !in_grid(c))) continue;
      const double k = cost(c);
      if (k < best) best = k, plan.lane = c;
    }
    if (reuse && !plan.lane)
      for (IndexId c : classes())
        if (const double k = cost(c); can_be_lane(c) && k < best) best = k, plan.lane = c;

    if (input.gpu) {
      if (reuse)
        if (const auto row = row_of_products()) plan.lane = row;
      block_for_threads(reuse);
      return plan;
    }
    if (reuse && plan.lane && in_grid(*plan.lane)) {
      // Register tile: lanes x rows, where rows are another free index of the stage with reuse.
      const bool streamed = !blocked_row();
      plan.lane_unroll = streamed || !rich ? 2 : 4;
      plan.row_unroll = streamed ? (rich ? 12 : 4) : 6;
      if (!rich && !streamed) plan.row_unroll = 6;
      plan.blocks[*plan.lane] = std::int64_t{plan.lanes} * plan.lane_unroll;
      if (auto row = blocked_row()) plan.blocks[*row] = 384;
      plan.stream = choose_stream();
      if (plan.stream) plan.stream_block = blocked_row() ? 768 : 64;
    } else if (plan.lane && in_grid(*plan.lane)) {
      const bool flat = std::all_of(group.stages.begin(), group.stages.end(), [&](const Stage& s) {
        return s.axes.empty() && s.free.size() == group.grid.size();
      });
      plan.blocks[*plan.lane] = std::int64_t{plan.lanes} * (flat ? 128 : 4);
    }
    return plan;
  }

  /// In a contraction whose result needs no further loops: the grid index that gives the rows of the register tile.
  std::optional<IndexId> blocked_row() const {
    std::optional<IndexId> row;
    for (const Stage& s : group.stages) {
      for (IndexId i : s.free) if (!in_grid(i)) return std::nullopt;
      if (!has_reuse(program, s)) continue;
      for (IndexId i : s.free) {
        if (i == *plan.lane) continue;
        bool reused = false;  // some operand that varies along the lane lacks it
        for_each_read(program.pool, s, [&](Expr e, const Node&) {
          if (program.pool.depends_on(e, *plan.lane) && !program.pool.depends_on(e, i)) reused = true;
        });
        if (reused) row = i;
      }
    }
    return row;
  }
};

}  // namespace

KernelPlan plan_kernel(Program& program, const Group& group, const PlanInput& input, const RoleShape& roles) {
  return Planner(program, group, input, roles).run();
}

std::optional<KernelPlan> plan_few_rows(Program& program, const Group& group, const PlanInput& input, const KernelPlan& plan) {
  if (!input.gpu) return std::nullopt;
  return Planner(program, group, input, {}).few_rows(plan);
}

}  // namespace quern::compiler
