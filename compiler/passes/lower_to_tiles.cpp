// lower_to_tiles: groups, plans, then one kernel a group: grid, tiles, stages in order, the streamed index as a loop.
#include "compiler/passes/lower_to_tiles.h"

#include <algorithm>

#include <fmt/format.h>

#include "compiler/passes/alias.h"
#include "compiler/passes/lower_group.h"
#include "compiler/passes/plan_scan.h"
#include "compiler/passes/ranges.h"
#include "compiler/passes/reduce_strength.h"
#include "compiler/passes/split_reductions.h"

namespace quern::compiler {

using namespace ir;
using tile::Block;

GroupLowering::GroupLowering(Program& program, Group group, KernelPlan plan, const PlanInput& input, std::string name)
    : program_(program), pool_(program.pool), group_(std::move(group)), plan_(std::move(plan)), input_(input) {
  kernel_.name = std::move(name);
  kernel_.lanes = plan_.lanes;
  kernel_.groups = plan_.groups;
  kernel_.column_groups = plan_.column_groups;
}

void GroupLowering::make_grid() {
  for (IndexId c : group_.grid) {
    const Index index = program_.indices[c];
    if (auto it = plan_.blocks.find(c); it != plan_.blocks.end()) {
      block_start_[c] = program_.add_index(index.name + "_block", index.begin, index.end);
      kernel_.grid.push_back({block_start_[c], index.begin, index.end, it->second});
    } else {
      kernel_.grid.push_back({c, index.begin, index.end, 1});
    }
  }
  if (plan_.stream) {
    const Index index = program_.indices[*plan_.stream];
    block_start_[*plan_.stream] = program_.add_index(index.name + "_block", index.begin, index.end);
    stream_start_ = index.begin;
    stream_stop_ = index.end;
  }
}

Stage GroupLowering::operand_stage(const std::string& name, std::size_t equation, const std::vector<IndexId>& free, Expr body) {
  Stage operand;
  operand.form = Form::pointwise;
  operand.equation = equation;
  operand.free = free;
  Tensor t;
  t.name = name;
  // Matrix instructions take small floats as they are; vectors of a CPU are better served with f32.
  t.type = is_small_float(pool_.type(body)) && !input_.gpu ? DType::f32 : pool_.type(body);
  operand.body = pool_.cast(body, t.type);
  for (IndexId i : free) {
    const Index& index = program_.indices[i];
    t.shape.push_back(pool_.sub(index.end, index.begin));
    operand.subscripts.push_back(pool_.sub(pool_.index(i), index.begin));
  }
  operand.targets = {program_.add_tensor(t)};
  return operand;
}

/// An expression that costs something (a transcendental) and stands in several stages at the same points is computed in
/// one place. It may only move if all its uses stand behind the same guard.
namespace {
bool is_transcendental(Op op) {
  switch (op) {
    case Op::exp: case Op::exp2: case Op::log: case Op::log2: case Op::tanh: case Op::erf: case Op::sigmoid: case Op::gelu:
    case Op::silu: case Op::softplus: case Op::sin: case Op::cos: case Op::pow: return true;
    default: return false;
  }
}
}  // namespace

void GroupLowering::share_costly() {
  // Of a few parts: cheaper than a tile of unknown size.
  if (!plan_.merges) share([&](Expr e) { return is_transcendental(pool_[e].op); });
  // What follows from a sum of products at a point, more than a change of scale, stays with the thread that has the sum.
  if (input_.gpu && plan_.stream) share([&](Expr e) { return is_score(e); });
}

/// Computed at each row and streamed index from a sum of products of this kernel, by more than a multiplication.
bool GroupLowering::is_score(Expr e) const {
  const Node& n = pool_[e];
  if (n.type != DType::f32 || !plan_.lane || !pool_.depends_on(e, *plan_.stream) || !pool_.depends_on(e, *plan_.lane)) return false;
  if (n.op != Op::add && n.op != Op::sub && n.op != Op::mul && n.op != Op::max && n.op != Op::min && !is_transcendental(n.op)) return false;
  bool sum = false, running = false, more = false;
  for_each_node(pool_, e, [&](Expr at, const Node& x) {
    if (x.op == Op::accumulator || x.op == Op::previous) running = true;
    more |= x.op != Op::read && x.op != Op::constant && x.op != Op::mul && x.op != Op::div && pool_.depends_on(at, *plan_.stream) && x.op != Op::index &&
            pool_.type(at) == DType::f32;
    if (x.op != Op::read) return;
    const auto t = static_cast<TensorId>(x.payload);
    running |= running_.contains(t) || references_.contains(t);
    const Stage* from = producer(t);
    sum |= from && has_reuse(program_, *from);
  });
  return sum && more && !running;
}

void GroupLowering::share(const std::function<bool(Expr)>& costly) {
  struct Use {
    std::set<std::size_t> stages;
    Expr guard;
    bool one_guard = true;
    bool once_per_point = true;  // of a stage with as many indices: nothing is gained by a tile otherwise
  };
  std::map<Expr, Use> uses;
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    const Stage& s = group_.stages[i];
    std::set<std::pair<Expr, Expr>> seen;
    std::function<void(Expr, Expr)> visit = [&](Expr e, Expr guard) {
      if (!seen.emplace(e, guard).second) return;
      if (costly(e) && !pool_.free_indices(e).empty()) {
        auto [it, fresh] = uses.try_emplace(e);
        if (fresh) it->second.guard = guard;
        it->second.one_guard &= it->second.guard == guard;
        it->second.stages.insert(i);
        return;
      }
      const Node n = pool_[e];
      if (n.op == Op::where) {
        visit(n.args[0], guard);
        visit(n.args[1], both(pool_, guard, n.args[0]));
        visit(n.args[2], both(pool_, guard, negation(pool_, n.args[0])));
        return;
      }
      for (Expr a : n.args) visit(a, guard);
    };
    if (s.form == Form::scan || s.form == Form::scatter) continue;
    visit(s.body, s.domain ? s.domain : pool_.boolean(true));
  }
  if (uses.empty()) return;
  const Ranges ranges(program_);
  std::vector<Stage> result;
  std::unordered_map<Expr, Expr> shared;
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    for (auto& [e, use] : uses) {
      if (*use.stages.begin() != i || use.stages.size() < 2 || !use.one_guard) continue;
      std::vector<IndexId> free;
      const Stage& s = group_.stages[i];
      for (const auto* list : {&s.free, &s.axes})
        for (IndexId c : *list) if (pool_.depends_on(e, c)) free.push_back(c);
      // The guard must be known where the value is computed.
      const auto& needs = pool_.free_indices(use.guard);
      if (!std::all_of(needs.begin(), needs.end(), [&](IndexId c) { return is_unit(c) || std::find(free.begin(), free.end(), c) != free.end(); })) continue;
      // What reads nothing that may be missing needs no guard on a GPU, where a choice costs as much as the rest.
      const bool open = input_.gpu && !is_transcendental(pool_[e].op) && ranges.reads_in_range(e, {});
      const Expr body = open ? e : pool_.where(use.guard, e, pool_.real(0, pool_.type(e)));
      Stage operand = operand_stage(fmt::format("{}_shared", program_.tensors[s.targets[0]].name), s.equation, free, body);
      shared[e] = pool_.read(operand.targets[0], pool_.type(e), operand.subscripts);
      result.push_back(std::move(operand));
    }
    Stage s = group_.stages[i];
    if (s.form != Form::scan && s.form != Form::scatter)
      s.body = pool_.rewrite(s.body, [&](Expr e) -> Expr {
        auto it = shared.find(e);
        return it == shared.end() ? Expr{} : it->second;
      });
    result.push_back(std::move(s));
  }
  group_.stages = std::move(result);
}

/// Operands of a stage with reuse get a tile of their own where that pays: computed sub-expressions and converted or
/// packed reads that lack one of its indices would otherwise be evaluated again for each of that index's values.
/// Small floats from memory for each row and streamed index, side by side along one of them, come as a tile: it can be on its way
/// while products are summed.
void GroupLowering::stage_elements(Stage& stage, std::unordered_map<Expr, Expr>& known, std::vector<Stage>& result) {
  if (!plan_.stream || !plan_.lane || !stage.has(*plan_.stream)) return;
  const std::set<IndexId> wanted{*plan_.lane, *plan_.stream};
  const Ranges ranges(program_);
  stage.body = pool_.rewrite(stage.body, [&](Expr e) -> Expr {
    const Node n = pool_[e];
    if (n.op != Op::read || (n.type != DType::f16 && n.type != DType::bf16) || producer(static_cast<TensorId>(n.payload))) return {};
    if (auto it = known.find(e); it != known.end()) return it->second;
    const auto free = varying(pool_.free_indices(e));
    bool adjacent = false;
    for (IndexId i : free) adjacent |= step_along(program_, input_, static_cast<TensorId>(n.payload), n.args, i) == Step::adjacent;
    if (std::set<IndexId>(free.begin(), free.end()) != wanted || !adjacent || !ranges.reads_in_range(e, {})) return {};
    Stage operand = operand_stage(fmt::format("{}_elements", program_.tensors[static_cast<TensorId>(n.payload)].name), stage.equation, free, e);
    known[e] = pool_.read(operand.targets[0], n.type, operand.subscripts);
    result.push_back(std::move(operand));
    return known[e];
  });
}

void GroupLowering::stage_operands() {
  std::unordered_map<Expr, Expr> known;  // operand -> read of its tile's tensor
  std::vector<Stage> result;
  for (Stage stage : group_.stages) {
    if (!has_reuse(program_, stage)) {
      if (plan_.matrix) stage_elements(stage, known, result);
      result.push_back(std::move(stage));
      continue;
    }
    std::vector<IndexId> all = stage.free;
    all.insert(all.end(), stage.axes.begin(), stage.axes.end());
    const auto dims = varying(all);
    auto lacks_one = [&](Expr e) {
      return std::any_of(dims.begin(), dims.end(), [&](IndexId i) { return !pool_.depends_on(e, i); });
    };
    auto wanted = [&](Expr e) {
      const Node& n = pool_[e];
      if (!lacks_one(e) || !pool_.depends_on_any(e, dims)) return false;
      // A value that the stream corrects as it goes is known in place only, and so is what follows from it alone.
      bool running = false;
      const bool walked = plan_.stream && pool_.depends_on(e, *plan_.stream);
      for_each_node(pool_, e, [&](Expr x) {
        const Node& at = pool_[x];
        running = running || at.op == Op::accumulator || (!walked && at.op == Op::read && running_.contains(static_cast<TensorId>(at.payload)));
      });
      if (running) return false;
      if (n.op == Op::read && n.type == DType::i64) return false;
      if (input_.gpu) {
        // What comes from memory is brought in once for all threads; what was computed here stays with its thread.
        if (n.op == Op::cast && is_small_float(pool_.type(n.args[0]))) return false;  // the narrow value is the operand
        bool local = false, memory = false;
        for_each_node(pool_, e, [&](Expr x) {
          if (pool_[x].op != Op::read) return;
          (producer(static_cast<TensorId>(pool_[x].payload)) ? local : memory) = true;
        });
        // On fragments a number for each column is read where it is needed: a tile would keep what it meets out of registers.
        if (plan_.matrix && n.type == DType::f32 && plan_.stream && std::none_of(dims.begin(), dims.end(), [&](IndexId i) { return i != *plan_.stream && pool_.depends_on(e, i); })) return false;
        const bool summed = std::any_of(stage.axes.begin(), stage.axes.end(), [&](IndexId a) { return pool_.depends_on(e, a); });
        return memory && !local && summed && n.type != DType::i64 && n.type != DType::boolean;
      }
      int spans = 0;
      for (IndexId i : dims) spans += pool_.depends_on(e, i);
      if (n.op == Op::constant || n.op == Op::index || n.op == Op::symbol || n.op == Op::scalar) return false;
      if (n.op != Op::read) return spans >= 1 && n.type != DType::i64 && n.type != DType::boolean;
      const auto t = static_cast<TensorId>(n.payload);
      if (producer(t)) return false;
      if (!plan_.lane || !pool_.depends_on(e, *plan_.lane)) return false;
      // Packed: strided along the lane, or walked again for every row of a block.
      return step_along(program_, input_, t, n.args, *plan_.lane) == Step::far || plan_.blocks.size() > 1 || !is_float(n.type);
    };
    bool beside_bf16 = false;
    for_each_node(pool_, stage.body, [&](Expr, const Node& n) { beside_bf16 |= n.type == DType::bf16; });
    std::function<Expr(Expr)> visit = [&](Expr e) -> Expr {
      if (wanted(e)) {
        if (auto it = known.find(e); it != known.end()) return it->second;
        std::vector<IndexId> free;
        for (IndexId i : all)
          if (pool_.depends_on(e, i) && std::find(free.begin(), free.end(), i) == free.end()) free.push_back(i);
        // A point of the operand may lie outside the domain of the reduction that reads it.
        Expr guard = pool_.boolean(true);
        for (Expr c : conjuncts(pool_, stage.domain)) {
          const auto& needs = pool_.free_indices(c);
          if (std::all_of(needs.begin(), needs.end(), [&](IndexId i) { return is_unit(i) || std::find(free.begin(), free.end(), i) != free.end(); }))
            guard = pool_.both(guard, c);
        }
        Expr body = pool_.where(guard, e, identity_of(pool_, Reducer::sum, pool_.type(e)));
        // Small floats keep their type for matrix instructions; every fp8 value is an f16 value too, and a bf16 value.
        if (const DType type = pool_.type(e); input_.gpu && is_small_float(type))
          body = pool_.cast(body, type == DType::bf16 || (size_of(type) == 1 && beside_bf16) ? DType::bf16 : DType::f16);
        Stage operand = operand_stage(fmt::format("{}_operand{}", program_.tensors[stage.targets[0]].name, known.size()), stage.equation, free, body);
        const Expr read = pool_.read(operand.targets[0], program_.tensors[operand.targets[0]].type, operand.subscripts);
        result.push_back(std::move(operand));
        return known[e] = read;
      }
      const Node n = pool_[e];
      // Below a guard nothing may be evaluated on its own.
      if (n.op == Op::read || n.op == Op::where || n.args.empty()) return e;
      std::vector<Expr> args;
      for (Expr a : n.args) args.push_back(visit(a));
      if (args == n.args) return e;
      if (is_elementwise(n.op)) return pool_.apply(n.op, args);
      return pool_.cast(args[0], n.type, n.flags);
    };
    // A product's factors are the operands; anything else is one body whose parts are.
    stage.body = visit(stage.body);
    // Data that the domain asks about along the lanes comes through a tile too: then lanes behind the edge need no test.
    if (stage.domain && plan_.lane)
      stage.domain = pool_.rewrite(stage.domain, [&](Expr e) -> Expr {
        const Node& n = pool_[e];
        return n.op == Op::read && pool_.depends_on(e, *plan_.lane) && wanted(e) ? visit(e) : Expr{};
      });
    result.push_back(std::move(stage));
  }
  group_.stages = std::move(result);
}

/// Where elements are read depends on data along the stream: what no row asks for may not exist.
bool GroupLowering::gathers() const {
  bool found = false;
  for (const Stage& s : group_.stages)
    for_each_read(pool_, s, [&](Expr, const Node& n) {
      for (Expr at : n.args)
        for_each_node(pool_, at, [&](Expr e, const Node& x) { found |= x.op == Op::read && pool_.depends_on(e, *plan_.stream); });
    });
  return found;
}

void GroupLowering::place_stages() {
  places_.assign(group_.stages.size(), Place::before);
  if (!plan_.stream) return;
  std::set<TensorId> after;
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    const Stage& s = group_.stages[i];
    if (s.has(*plan_.stream)) {
      places_[i] = Place::inside;
      if (s.reduces(*plan_.stream)) after.insert(s.targets[0]);
      continue;
    }
    for_each_read(pool_, s, [&](Expr, const Node& n) {
      if (after.contains(static_cast<TensorId>(n.payload))) places_[i] = Place::after;
    });
    if (places_[i] == Place::after) after.insert(s.targets.begin(), s.targets.end());
  }
}

void GroupLowering::make_tiles() {
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    const Stage& s = group_.stages[i];
    const bool runs = plan_.stream && s.reduces(*plan_.stream);
    // The result of a register tile goes through a tile, so that its lanes need no test.
    const bool tiled = plan_.lane && plan_.blocks.contains(*plan_.lane) && has_reuse(program_, s);
    if (!runs && !tiled && !used_inside_group(s)) continue;
    for (TensorId t : s.targets) {
      // Small floats are kept as stored, so that a reader in the kernel sees what a reader outside would.
      const Tensor tensor = program_.tensors[t];
      const auto dims = varying(s.free);
      auto last = plan_.lane && std::find(dims.begin(), dims.end(), *plan_.lane) != dims.end() ? plan_.lane : lane_for(s, dims);
      if (input_.gpu)  // as it lies in memory, so that whole runs are copied
        for_each_read(pool_, s, [&](Expr, const Node& n) {
          if (producer(static_cast<TensorId>(n.payload))) return;
          for (IndexId c : dims)
            if (step_along(program_, input_, static_cast<TensorId>(n.payload), n.args, c) == Step::adjacent) last = c;
        });
      const bool sum = s.form == Form::reduce && s.reducer != Reducer::argmax && s.reducer != Reducer::argmin;
      tiles_[t] = make_tile(tensor.name, sum ? pool_.type(s.body) : tensor.type, dims, last);
    }
    if (runs && (s.reducer == Reducer::argmax || s.reducer == Reducer::argmin)) {
      const Tile& positions = tiles_.at(s.targets[0]);
      position_tiles_[s.targets[0]] = make_tile(program_.tensors[s.targets[0]].name + "_value", pool_.type(s.body), positions.dims, plan_.lane);
    }
  }
}

tile::Kernel GroupLowering::run() {
  const Group original = group_;
  make_grid();
  keep_row_bounds();
  if (plan_.stream && !prepare_running()) {
    KernelPlan whole = plan_;
    whole.stream.reset();
    whole.parts = false;
    tile::Kernel kernel = GroupLowering(program_, original, whole, input_, kernel_.name).run();
    kernel.why.push_back(fmt::format("index {} is kept whole in a tile: a reduction over it does not split", program_.indices[*plan_.stream].name));
    return kernel;
  }
  if (plan_.parts && !prepare_parts()) {
    KernelPlan whole = plan_;
    whole.parts = false;
    return GroupLowering(program_, original, whole, input_, kernel_.name).run();
  }
  reduce_strength(program_, group_);
  // Corrections of running values are exponentials of differences, too.
  for (const Stage& s : group_.stages)
    if (auto it = running_.find(s.targets[0]); it != running_.end() && it->second.shift)
      for (Expr* e : {&it->second.shift->factor, &it->second.shift->term}) *e = reduce_strength(program_, group_, s, *e);
  if (plan_.stream) choose_references();
  share_costly();
  stage_operands();
  place_stages();
  make_tiles();
  if (plan_.stream) bound_stream();
  for (std::size_t i = 0; i < group_.stages.size(); ++i)
    if (places_[i] == Place::before) emit(kernel_.body, group_.stages[i]);
  if (plan_.stream) {
    for (const Stage& s : group_.stages) if (s.reduces(*plan_.stream)) emit_identity(kernel_.body, s);
    Block walk;
    auto emit_inside = [&](Block& out, const Stage& s) {
      if (s.reduces(*plan_.stream)) emit_running(out, s);
      else emit(out, s);
    };
    for (std::size_t i = 0; i < group_.stages.size(); ++i) {
      if (places_[i] != Place::inside) continue;
      const Stage& s = group_.stages[i];
      bool tests = false;
      if (full_) {
        auto look = [&](Expr root) {
          for_each_node(pool_, root, [&](Expr e, const Node&) { tests |= std::find(common_.begin(), common_.end(), e) != common_.end(); });
        };
        look(s.body);
        look(s.domain);
      }
      if (!tests) {
        emit_inside(walk, s);
        continue;
      }
      // Full tiles carry no test.
      tile::If split{full_, {}, {}};
      tile::If* at = &split;
      if (!walk.empty())
        if (auto* last = std::get_if<tile::If>(&walk.back().node); last && last->condition == full_) at = last;
      const auto before = done_;
      emit_inside(at->else_block, s);
      done_ = before;
      assumed_.insert(common_.begin(), common_.end());
      emit_inside(at->then_block, s);
      assumed_.clear();
      if (at == &split) walk.push_back({std::move(split)});
    }
    tile::For loop{block_start_.at(*plan_.stream), stream_start_, stream_stop_, plan_.stream_block, std::move(walk), plan_.groups > 0 || (part_count_ && !gathers()) ? masks() : std::vector<tile::Nest>{}, own_};
    kernel_.body.push_back({std::move(loop)});
    if (part_count_) {
      for (const Stage& s : group_.stages) if (s.reduces(*plan_.stream)) emit_part(kernel_.body, s);
    } else {
      for (const Stage& s : group_.stages) if (s.reduces(*plan_.stream)) emit_finish(kernel_.body, s);
    }
    for (std::size_t i = 0; i < group_.stages.size(); ++i) {
      const Stage& s = group_.stages[i];
      if (s.reduces(*plan_.stream) && s.stored) emit_copy_out(kernel_.body, s);
      if (places_[i] == Place::after && !part_count_) emit(kernel_.body, s);
    }
    kernel_.why.push_back(fmt::format("index {} is walked in blocks of {}; its reductions run", program_.indices[*plan_.stream].name, plan_.stream_block));
    for (const Stage& s : group_.stages)
      if (auto it = running_.find(s.targets[0]); it != running_.end() && it->second.shift)
        for (const std::string& line : it->second.shift->derivation) kernel_.why.push_back(line);
  }
  if (plan_.lane) kernel_.why.insert(kernel_.why.begin(), fmt::format("index {} runs in vector lanes", program_.indices[*plan_.lane].name));
  kernel_.why.insert(kernel_.why.end(), group_.why.begin(), group_.why.end());
  return std::move(kernel_);
}

namespace {

/// to[...] = from[...], element by element, as a group of its own.
Group copy_group(Program& p, TensorId from, TensorId to) {
  Stage s;
  s.targets = s.stored_targets = {to};
  s.stored = true;
  for (Expr size : p.tensors[from].shape) {
    const IndexId i = p.add_index("i", p.pool.integer(0), size);
    s.free.push_back(i);
    s.subscripts.push_back(p.pool.index(i));
  }
  s.body = p.pool.cast(p.pool.read(from, p.tensors[from].type, s.subscripts), p.tensors[to].type);
  Group group;
  group.grid = s.free;
  group.stages = {s};
  return group;
}

/// Sums of small floats accumulate in f32: such a scatter runs in f32 workspace between two copies.
std::vector<Group> widen_scatters(Program& p, std::vector<Group> groups) {
  std::vector<Group> out;
  for (Group& group : groups) {
    Stage& s = group.stages[0];
    const TensorId target = s.targets[0];
    if (s.form != Form::scatter || s.op != AssignOp::add || !is_small_float(p.tensors[target].type)) {
      out.push_back(std::move(group));
      continue;
    }
    Tensor wide = p.tensors[target];
    wide.name += "_sums";
    wide.type = DType::f32;
    wide.role = Role::temp;
    wide.entry.reset();
    const TensorId held = p.add_tensor(wide);
    out.push_back(copy_group(p, *p.tensors[target].entry, held));
    s.targets = s.stored_targets = {held};
    s.body = p.pool.cast(s.body, DType::f32);
    out.push_back(std::move(group));
    out.push_back(copy_group(p, held, target));
  }
  return out;
}

tile::Module lower(Program program, const PlanInput& input) {
  tile::Module module;
  module.program = std::move(program);
  Program& p = module.program;
  std::set<TensorId> workspace;
  std::size_t number = 0;
  const std::set<TensorId> apart = split_reductions(p, input);
  for (Group& group : widen_scatters(p, fuse_equations(p, apart))) {
    // Atomics let every point of a scatter be a task; in a fixed order only those that never meet are.
    if (input.gpu && group.stages[0].form == Form::scatter && !p.annotations.deterministic) group.grid = group.stages[0].free;
    for (const Stage& s : group.stages)
      if (s.stored)
        for (TensorId t : s.targets)
          if (s.stores(t) && p.tensors[t].role == Role::temp && workspace.insert(t).second) module.workspace.push_back(t);
    Expr when;
    if (const std::shared_ptr<ChainPlan> chain = chain_scan(p, group, input)) {
      tile::Kernel kernel = GroupLowering(p, chain->group, chain->plan, input, fmt::format("k{}", number++)).run();
      kernel.chained = true;
      kernel.when = chain->when;
      kernel.why.push_back(fmt::format("rows are scanned in chunks of {} that pass their state on", kernel.grid.back().step));
      module.kernels.push_back(std::move(kernel));
      if (!chain->when) continue;
      when = negation(p.pool, chain->when);
    }
    if (const auto stream = plan_kernel(p, group, input).stream)
      for (Group& search : bound_by_order(p, group, *stream)) {
        KernelPlan each = plan_kernel(p, search, input);
        if (input.gpu && !search.grid.empty()) each.lane = search.grid.back(), each.blocks = {{search.grid.back(), 128}};
        module.workspace.push_back(search.stages[0].targets[0]);
        module.kernels.push_back(GroupLowering(p, std::move(search), each, input, fmt::format("k{}", number++)).run());
      }
    const auto roles = input.roles.find(number);
    KernelPlan plan = plan_kernel(p, group, input, roles == input.roles.end() ? RoleShape{} : roles->second);
    auto few = plan_few_rows(p, group, input, plan);
    if (few && p.pool.is_true(few->when)) plan = *few, plan.when = {}, few.reset();
    // Parts of sums over the rows of a matrix: where it has a few columns only, the threads are for the rows.
    if (input.gpu && group.stages.size() == 1 && apart.contains(group.stages[0].targets[0]))
      for (const auto& [i, block] : plan.blocks) {
        if (block <= 8 || constant_extent(p, i)) continue;
        KernelPlan narrow = plan;
        narrow.blocks[i] = 4;
        tile::Kernel kernel = GroupLowering(p, group, narrow, input, fmt::format("k{}", number++)).run();
        kernel.when = p.pool.apply(Op::le, {extent(p, i), p.pool.integer(8)});
        when = negation(p.pool, kernel.when);
        module.kernels.push_back(std::move(kernel));
        break;
      }
    auto name = [&](std::size_t ahead) { return fmt::format("k{}", number + ahead); };
    auto add = [&](tile::Kernel kernel, Expr runs) {
      kernel.when = runs;
      module.kernels.push_back(std::move(kernel));
      ++number;
    };
    auto add_merging = [&](const GroupLowering& lowering, Expr runs) {
      for (TensorId t : lowering.held()) module.workspace.push_back(t);
      KernelPlan merge = plan_kernel(p, lowering.merging(), input);
      merge.merges = true;
      add(GroupLowering(p, lowering.merging(), merge, input, name(0)).run(), runs);
    };
    if (few) {
      GroupLowering lowering(p, group, *few, input, name(1));
      tile::Kernel kernel = lowering.run();
      if (!lowering.merging().stages.empty()) {
        const Expr many = negation(p.pool, few->when);
        add(GroupLowering(p, std::move(group), plan, input, name(0)).run(), when ? p.pool.both(when, many) : many);
        const Expr runs = when ? p.pool.both(when, few->when) : few->when;
        add(std::move(kernel), runs);
        add_merging(lowering, runs);
        continue;
      }
    }
    GroupLowering lowering(p, std::move(group), plan, input, name(0));
    add(lowering.run(), when);
    if (!lowering.merging().stages.empty()) add_merging(lowering, when);
  }
  return module;
}

}  // namespace

tile::Module lower_to_tiles(Program program, const PlanInput& input) {
  std::vector<std::pair<TensorId, TensorId>> in_place;  // entry values, new values
  for (TensorId t = 0; t < program.tensors.size(); ++t)
    if (program.tensors[t].entry) in_place.push_back({*program.tensors[t].entry, t});
  if (in_place.empty()) return lower(std::move(program), input);
  tile::Module module = lower(program, input);
  std::vector<TensorId> copied;
  for (auto [entry, fresh] : in_place)
    if (!may_share_storage(module, entry, fresh)) copied.push_back(entry);
  if (copied.empty()) return module;
  copy_entry_values(program, copied);
  module = lower(std::move(program), input);
  for (auto [entry, fresh] : in_place)
    if (!may_share_storage(module, entry, fresh)) throw std::logic_error("quern internal error: new values of an inout parameter overwrite entry values");
  for (TensorId t : copied) module.kernels[0].why.push_back(fmt::format("the entry values of {} are copied: they are read after new ones are written", module.program.tensors[t].name));
  return module;
}

}  // namespace quern::compiler
