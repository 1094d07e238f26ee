// One stage of a group becomes one loop nest over tiles: which indices are loops, which runs in lanes, how far they are
// unrolled, and where the result goes (a tile, global memory, or both).
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "compiler/passes/lower_group.h"

namespace quern::compiler {

using namespace ir;
using tile::Block;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {
bool contains(const std::vector<IndexId>& list, IndexId i) { return std::find(list.begin(), list.end(), i) != list.end(); }

/// Vector instructions, roughly, that one point of the stage takes in its innermost loop.
int work_of(const ExprPool& pool, const Stage& stage) {
  int total = 1;
  for_each_node(pool, stage.body, [&](Expr e, const Node& n) {
    if (!is_elementwise(n.op) || !is_float(n.type) || !pool.depends_on_any(e, stage.axes)) return;
    switch (n.op) {
      case Op::neg: case Op::abs: case Op::sign: case Op::relu: case Op::floor: case Op::ceil: case Op::round: case Op::trunc:
      case Op::add: case Op::sub: case Op::mul: case Op::min: case Op::max: case Op::fma: case Op::where: total += 1; break;
      case Op::div: case Op::sqrt: case Op::rsqrt: total += 4; break;
      default: total += 24;  // a polynomial and what it takes to reduce the argument
    }
  });
  return total;
}

/// Copies of a stage with reuse share what they load, which tells as long as loads are a good part of the work; beyond that
/// they only make code.
constexpr int kMostWork = 288;
}  // namespace

bool GroupLowering::is_unit(IndexId c) const {
  return contains(group_.grid, c) && !plan_.blocks.contains(c);
}
Expr GroupLowering::first(IndexId c) {
  if (auto it = block_start_.find(c); it != block_start_.end()) return pool_.index(it->second);
  return program_.indices[c].begin;
}
Expr GroupLowering::stop(IndexId c) {
  const Expr end = plan_.stream == c ? stream_stop_ : program_.indices[c].end;
  if (auto it = block_start_.find(c); it != block_start_.end()) return pool_.min(padded_stop(c), end);
  return end;
}
Expr GroupLowering::padded_stop(IndexId c) { return pool_.add(first(c), tile_extent(c)); }
Expr GroupLowering::tile_extent(IndexId c) {
  if (plan_.stream == c) return pool_.integer(plan_.stream_block);
  if (auto it = plan_.blocks.find(c); it != plan_.blocks.end()) return pool_.integer(it->second);
  return pool_.sub(program_.indices[c].end, program_.indices[c].begin);
}
std::vector<IndexId> GroupLowering::varying(const std::vector<IndexId>& list) const {
  std::vector<IndexId> out;
  for (IndexId i : list) if (varies(i) && !contains(out, i)) out.push_back(i);
  return out;
}

Tile GroupLowering::make_tile(const std::string& name, DType type, std::vector<IndexId> dims, std::optional<IndexId> last) {
  if (last && contains(dims, *last)) {
    std::erase(dims, *last);
    dims.push_back(*last);
  }
  Tensor t;
  t.name = name;
  t.type = type;
  t.role = Role::scratch;
  for (IndexId d : dims) t.shape.push_back(tile_extent(d));
  Tile tile{program_.add_tensor(std::move(t)), std::move(dims)};
  kernel_.scratch.push_back(tile.scratch);
  return tile;
}
std::vector<Expr> GroupLowering::tile_subscripts(const Tile& tile) {
  std::vector<Expr> out;
  for (IndexId d : tile.dims) out.push_back(pool_.sub(pool_.index(d), first(d)));
  return out;
}
Expr GroupLowering::read_tile(const Tile& tile) {
  return pool_.read(tile.scratch, program_.tensors[tile.scratch].type, tile_subscripts(tile));
}

Expr GroupLowering::localize(Expr e) {
  if (!e) return e;
  if (!assumed_.empty()) e = pool_.rewrite(e, [&](Expr at) { return assumed_.contains(at) ? pool_.boolean(true) : Expr{}; });
  return pool_.rewrite(e, [&](Expr at) -> Expr {
    const Node n = pool_[at];
    if (n.op != Op::read) return {};
    const auto tensor = static_cast<TensorId>(n.payload);
    // A sum is kept as it was accumulated; its readers see it as it is stored.
    if (auto it = tiles_.find(tensor); it != tiles_.end()) return pool_.cast(read_tile(it->second), n.type);
    return {};
  });
}

const Stage* GroupLowering::producer(TensorId tensor) const {
  for (const Stage& s : group_.stages)
    if (std::find(s.targets.begin(), s.targets.end(), tensor) != s.targets.end()) return &s;
  return nullptr;
}

bool GroupLowering::used_inside_group(const Stage& stage) const {
  bool used = false;
  for (const Stage& s : group_.stages)
    for_each_read(pool_, s, [&](Expr, const Node& n) {
      used |= std::find(stage.targets.begin(), stage.targets.end(), static_cast<TensorId>(n.payload)) != stage.targets.end();
    });
  // What a running reduction needs besides its body: corrections, centres, the exact value at the end.
  auto look = [&](Expr root) {
    for_each_node(pool_, root, [&](Expr, const Node& n) {
      used |= n.op == Op::read && std::find(stage.targets.begin(), stage.targets.end(), static_cast<TensorId>(n.payload)) != stage.targets.end();
    });
  };
  for (const auto& [target, r] : running_) {
    look(r.live);
    if (!r.shift) continue;
    for (Expr e : {r.shift->factor, r.shift->term, r.shift->finish}) look(e);
    for (const auto* list : {&r.shift->bodies, &r.shift->recentre, &r.shift->final_centres, &r.shift->moved})
      for (Expr e : *list) look(e);
  }
  return used;
}

std::string GroupLowering::note_of(const Stage& stage) const {
  std::string out;
  for (TensorId t : stage.targets) out += (out.empty() ? "" : "_") + program_.tensors[t].name;
  return out;
}

/// Every access that varies along the lane is to a tile: the lanes behind the edge may run on garbage, nobody reads it.
bool GroupLowering::only_tiles_along(const Stage& stage, IndexId lane) const {
  if (stage.form == Form::scatter || stage.form == Form::topk || stage.form == Form::sort) return false;
  // A pointwise stage stores to memory in the same nest; others copy their tile out afterwards.
  bool ok = !(stage.stored && (stage.form == Form::pointwise || !tiles_.contains(stage.targets[0])));
  for_each_read(pool_, stage, [&](Expr e, const Node& n) {
    if (pool_.depends_on(e, lane) && !tiles_.contains(static_cast<TensorId>(n.payload)) &&
        program_.tensors[static_cast<TensorId>(n.payload)].role != Role::scratch)
      ok = false;
  });
  return ok;
}

std::optional<IndexId> GroupLowering::lane_for(const Stage& stage, const std::vector<IndexId>& dims) {
  if (plan_.lane && contains(dims, *plan_.lane)) return plan_.lane;
  if (stage.form == Form::scatter) return std::nullopt;
  std::optional<IndexId> best;
  double least = std::numeric_limits<double>::infinity();
  for (IndexId c : dims) {
    if (auto extent = constant_extent(program_, c); extent && *extent <= 1) continue;
    double cost = stage.reduces(c) ? 1 : stage.is_sequential(c) ? 4 : 0;
    for_each_read(pool_, stage, [&](Expr, const Node& n) {
      const auto t = static_cast<TensorId>(n.payload);
      if (auto it = tiles_.find(t); it != tiles_.end()) {
        cost += !contains(it->second.dims, c) ? 0.2 : it->second.dims.back() == c ? 1 : 8;
        return;
      }
      const Step step = step_along(program_, input_, t, n.args, c);
      cost += step == Step::same ? 0.2 : step == Step::adjacent ? 1 : 8;
    });
    if (!stage.reduces(c)) {
      if (auto it = tiles_.find(stage.targets[0]); it != tiles_.end()) cost += it->second.dims.back() == c ? 1 : 8;
      else if (stage.stored && step_along(program_, input_, stage.targets[0], stage.subscripts, c) == Step::far) cost += 8;
    }
    if (cost < least) least = cost, best = c;
  }
  return best;
}

/// The index along which a tensor that the lanes meet far apart has its elements side by side.
std::optional<IndexId> GroupLowering::turned_dim(const Stage& stage, const std::vector<IndexId>& free, IndexId lane) {
  std::optional<IndexId> found;
  auto see = [&](TensorId tensor, const std::vector<Expr>& subscripts) {
    if (program_.tensors[tensor].role == Role::scratch || tiles_.contains(tensor)) return;
    if (step_along(program_, input_, tensor, subscripts, lane) != Step::far) return;
    for (IndexId c : free)
      if (c != lane && step_along(program_, input_, tensor, subscripts, c) == Step::adjacent) found = c;
  };
  for_each_read(pool_, stage, [&](Expr, const Node& n) { see(static_cast<TensorId>(n.payload), n.args); });
  if (stage.stored) see(stage.targets[0], stage.subscripts);
  if (found)
    if (auto extent = constant_extent(program_, *found); extent && *extent < plan_.lanes) return std::nullopt;
  return found;
}

Nest GroupLowering::nest_for(const Stage& stage, const std::vector<IndexId>& dims) {
  Nest nest;
  nest.note = note_of(stage);
  const auto lane = lane_for(stage, dims);
  const bool reuse = has_reuse(program_, stage);
  auto add = [&](IndexId c, int unroll) {
    const bool is_lane = lane == c;
    const bool padded = is_lane && plan_.blocks.contains(c) && only_tiles_along(stage, c);
    nest.dims.push_back({c, first(c), padded ? padded_stop(c) : stop(c), unroll, is_lane});
  };
  std::vector<IndexId> free, inner;
  for (IndexId c : dims) {
    const bool innermost = stage.reduces(c) || (stage.form == Form::scan && contains(stage.axes, c));
    (innermost ? inner : free).push_back(c);
  }
  const bool lane_free = lane && contains(free, *lane);
  std::optional<IndexId> row;
  if (reuse) for (IndexId c : free) if (!lane_free || c != *lane) row = c;
  // Lanes that are one group of vectors stand outside: what depends on them alone is computed once.
  const bool group = lane_free && !row && plan_.blocks.contains(*lane) && plan_.blocks.at(*lane) == std::int64_t{plan_.lanes} * plan_.lane_unroll;
  // Memory that lies along another index is turned in registers, a square of vectors at a time.
  const auto turned = lane_free && inner.empty() && stage.form == Form::pointwise ? turned_dim(stage, free, *lane) : std::nullopt;
  const int copies = reuse && !input_.gpu ? std::max(1, kMostWork / work_of(pool_, stage)) : 64;
  const int vectors = std::min(plan_.lane_unroll, copies), rows = std::min(lane_free ? plan_.row_unroll : 4, std::max(1, copies / vectors));
  if (group) add(*lane, turned ? 1 : plan_.lane_unroll);
  for (IndexId c : free) if (c != row && !(lane_free && c == *lane)) add(c, turned == c ? plan_.lanes : 1);
  if (row) add(*row, rows);
  if (lane_free && !group) add(*lane, turned ? 1 : reuse ? vectors : plan_.stream ? plan_.lane_unroll : inner.empty() ? 2 : 4);
  for (IndexId c : inner) if (!(lane && c == *lane)) add(c, 1);
  if (lane && !lane_free) add(*lane, stage.form == Form::scan ? 1 : reuse ? 1 : 4);
  return nest;
}

/// The update without its target.
Update GroupLowering::update_for(const Stage& stage) {
  Update u;
  u.kind = stage.form == Form::reduce    ? UpdateKind::reduce
           : stage.form == Form::scan    ? UpdateKind::scan
           : stage.form == Form::scatter ? UpdateKind::scatter
                                         : UpdateKind::store;
  u.body = localize(stage.body);
  u.domain = localize(stage.domain);
  if (u.domain && pool_.is_true(u.domain)) u.domain = {};
  u.reducer = stage.reducer;
  u.over = stage.form == Form::reduce || stage.form == Form::scan ? varying(stage.axes) : std::vector<IndexId>{};
  if (stage.form == Form::scan) u.start = localize(stage.init);
  u.is_search = stage.is_search;
  if (stage.is_search) u.start = program_.indices[stage.axes[0]].end;
  if (stage.form == Form::scatter) {
    u.reducer = stage.op == AssignOp::max ? Reducer::max : stage.op == AssignOp::min ? Reducer::min : Reducer::sum;
    u.checked = stage.checked;
  }
  if (stage.form == Form::reduce && (stage.reducer == Reducer::argmax || stage.reducer == Reducer::argmin)) {
    u.position = pool_.index(stage.axes[0]);
    u.has_value_target = false;
    u.has_position_target = true;
  }
  return u;
}

/// Comparisons of a reduced dim with what is one value in a task become the dim's bounds, and leave the domain.
void GroupLowering::bound_dims(Nest& nest, Update& u) {
  Expr left = pool_.boolean(true);
  for (Expr c : conjuncts(pool_, u.domain)) {
    const Node n = pool_[c];
    const bool compares = n.op == Op::lt || n.op == Op::le || n.op == Op::gt || n.op == Op::ge;
    bool taken = false;
    if (compares && pool_.type(n.args[0]) == DType::i64) {
      std::vector<Dim*> met;
      bool data = false;
      for (Dim& d : nest.dims) if (pool_.depends_on(c, d.index)) met.push_back(&d);
      for_each_node(pool_, c, [&](Expr, const Node& at) { data |= at.op == Op::read; });
      if (!data && met.size() == 1 && contains(u.over, met[0]->index)) {
        Dim& d = *met[0];
        const bool upward = n.op == Op::lt || n.op == Op::le;
        auto f = affine(pool_, pool_.sub(n.args[upward ? 0 : 1], n.args[upward ? 1 : 0]), {d.index});  // < 0 or <= 0
        const Expr strict = pool_.integer(n.op == Op::lt || n.op == Op::gt ? 0 : 1);
        if (f && f->terms[d.index] == 1) {
          d.end = pool_.min(d.end, pool_.sub(strict, f->rest));
          taken = true;
        } else if (f && f->terms[d.index] == -1) {
          d.begin = pool_.max(d.begin, pool_.add(f->rest, pool_.sub(pool_.integer(1), strict)));
          taken = true;
        }
      }
    }
    if (!taken) left = pool_.both(left, c);
  }
  u.domain = pool_.is_true(left) ? Expr{} : left;
}

void GroupLowering::emit(Block& out, const Stage& stage) {
  if (stage.form == Form::topk || stage.form == Form::sort) return emit_select(out, stage);
  std::vector<IndexId> all = stage.free;
  all.insert(all.end(), stage.axes.begin(), stage.axes.end());
  Nest nest = nest_for(stage, varying(all));
  Update u = update_for(stage);
  if (stage.form == Form::reduce && u.domain && !has_reuse(program_, stage)) bound_dims(nest, u);
  const TensorId target = stage.targets[0];
  auto aim = [&](Update update, TensorId tensor, std::vector<Expr> subscripts) {
    update.subscripts = std::move(subscripts);
    if (update.has_position_target) update.position_target = tensor;
    else update.target = tensor;
    return update;
  };
  const auto tile = tiles_.find(target);
  const bool keeps = tile != tiles_.end();
  if (keeps) nest.updates.push_back(aim(u, tile->second.scratch, tile_subscripts(tile->second)));
  const bool direct = stage.stored && (!keeps || stage.form == Form::pointwise);
  if (direct) {
    std::vector<Expr> subscripts;
    for (Expr s : stage.subscripts) subscripts.push_back(localize(s));
    nest.updates.push_back(aim(u, target, subscripts));
  }
  push(out, std::move(nest));
  if (stage.stored && !direct) emit_copy_out(out, stage);
}

/// From the tile of a finished stage to its storage.
void GroupLowering::emit_copy_out(Block& out, const Stage& stage) {
  Stage copy = stage;
  copy.form = Form::pointwise;
  copy.axes.clear();
  copy.domain = {};
  copy.stored = true;
  const Tile tile = tiles_.at(stage.targets[0]);
  copy.body = read_tile(tile);
  tiles_.erase(stage.targets[0]);  // the copy goes to memory, not to the tile
  Nest nest = nest_for(copy, varying(copy.free));
  tiles_[stage.targets[0]] = tile;
  Update u;
  u.kind = UpdateKind::store;
  u.target = stage.targets[0];
  u.subscripts = stage.subscripts;
  u.body = copy.body;
  nest.updates.push_back(u);
  nest.note = "store " + note_of(stage);
  push(out, std::move(nest));
}

/// Adds a nest; joins it with the one before where both walk the same points and neither needs the other's sums.
void GroupLowering::push(Block& out, Nest nest) {
  if (!out.empty()) {
    if (auto* last = std::get_if<Nest>(&out.back().node)) {
      auto same_dims = [&] {
        if (last->dims.size() != nest.dims.size()) return false;
        for (const Dim& d : nest.dims) {
          auto it = std::find_if(last->dims.begin(), last->dims.end(), [&](const Dim& o) { return o.index == d.index; });
          if (it == last->dims.end() || it->begin != d.begin || it->end != d.end || it->lanes != d.lanes) return false;
        }
        return true;
      };
      std::set<TensorId> finished_later;  // complete only after the nest
      for (const Update& u : last->updates) {
        if (u.kind == UpdateKind::reduce) finished_later.insert({u.target, u.position_target});
      }
      auto plain = [](const Nest& n) {
        return std::all_of(n.updates.begin(), n.updates.end(), [](const Update& u) {
          return u.kind == UpdateKind::store || u.kind == UpdateKind::reduce;
        });
      };
      bool independent = true;
      // Sums over different dims cannot all have theirs innermost.
      std::vector<std::set<IndexId>> overs;
      for (const Nest* n : {static_cast<const Nest*>(last), static_cast<const Nest*>(&nest)})
        for (const Update& u : n->updates)
          if (!u.over.empty()) overs.emplace_back(u.over.begin(), u.over.end());
      for (const auto& over : overs) independent &= over == overs.front();
      std::set<TensorId> read_before;
      for (const Update& u : last->updates)
        for (Expr e : {u.body, u.domain, u.start})
          for_each_node(pool_, e, [&](Expr, const Node& n) { if (n.op == Op::read) read_before.insert(static_cast<TensorId>(n.payload)); });
      for (const Update& u : nest.updates) {
        for (Expr e : {u.body, u.domain, u.start})
          for_each_node(pool_, e, [&](Expr, const Node& n) {
            if (n.op == Op::read && finished_later.contains(static_cast<TensorId>(n.payload))) independent = false;
          });
        if (read_before.contains(u.target)) independent = false;
      }
      // A register tile for a contraction stays as it is.
      auto tiled = [](const Nest& n) {
        return std::any_of(n.dims.begin(), n.dims.end(), [](const Dim& d) { return !d.lanes && d.unroll > 1; });
      };
      if (same_dims() && plain(*last) && plain(nest) && independent && !tiled(*last) && !tiled(nest)) {
        std::set<IndexId> reduced;
        for (const Nest* n : {static_cast<const Nest*>(last), static_cast<const Nest*>(&nest)})
          for (const Update& u : n->updates) reduced.insert(u.over.begin(), u.over.end());
        const Nest& order = std::any_of(nest.updates.begin(), nest.updates.end(), [](const Update& u) { return !u.over.empty(); }) ? nest : *last;
        std::vector<Dim> dims = order.dims;
        std::stable_partition(dims.begin(), dims.end(), [&](const Dim& d) { return !reduced.contains(d.index); });
        std::stable_sort(dims.begin(), dims.end(), [&](const Dim& a, const Dim& b) {
          return std::tuple(reduced.contains(a.index), reduced.contains(a.index) && a.lanes) <
                 std::tuple(reduced.contains(b.index), reduced.contains(b.index) && b.lanes);
        });
        last->dims = std::move(dims);
        if (last->note != nest.note) last->note += ", " + nest.note;
        for (Update& u : nest.updates) last->updates.push_back(std::move(u));
        return;
      }
    }
  }
  out.push_back({std::move(nest)});
}

/// top-k and sort work on one contiguous row at a time: fill the row, select, hand out.
void GroupLowering::emit_select(Block& out, const Stage& stage) {
  const IndexId along = stage.axes[0];
  Block* at = &out;
  for (IndexId c : varying(stage.free)) {
    if (contains(stage.axes, c)) continue;
    tile::For loop{c, first(c), stop(c), 1, {}, {}, {}};
    at->push_back({std::move(loop)});
    at = &std::get<tile::For>(at->back().node).body;
  }
  const bool sort = stage.form == Form::sort;
  const IndexId kept = sort ? along : stage.axes[1];
  Expr body = localize(stage.body);
  if (input_.gpu && is_small_float(pool_.type(body))) body = pool_.cast(body, DType::f32);  // as it is compared
  const Expr domain = localize(stage.domain);
  const DType type = pool_.type(body);
  const bool direct = input_.gpu && !sort;
  Tile row;
  if (!direct) row = make_tile(note_of(stage) + "_row", type, {along}, along);
  const bool values = sort ? !stage.argsort : true;
  const bool positions = sort ? stage.argsort : stage.targets.size() > 1;

  Tile live;  // a masked point must not stand for one that ties with what fills its place
  const bool masked = domain && !sort;
  if (!direct) {
    Stage fill = stage;
    fill.form = Form::pointwise;
    fill.axes = {along};
    fill.free = {along};
    fill.stored = false;
    fill.targets = {row.scratch};
    Nest load = nest_for(fill, {along});
    Update u;
    u.kind = UpdateKind::store;
    u.target = row.scratch;
    u.subscripts = tile_subscripts(row);
    u.body = domain ? pool_.where(domain, body, identity_of(pool_, Reducer::max, type)) : body;
    load.updates.push_back(u);
    if (masked) {
      live = make_tile(note_of(stage) + "_live", DType::boolean, {along}, along);
      u.target = live.scratch;
      u.subscripts = tile_subscripts(live);
      u.body = domain;
      load.updates.push_back(u);
    }
    load.note = "row of " + note_of(stage);
    at->push_back({std::move(load)});
  }

  tile::Select select;
  select.source = row.scratch;
  select.extent = pool_.sub(program_.indices[along].end, program_.indices[along].begin);
  select.k = pool_.sub(program_.indices[kept].end, program_.indices[kept].begin);
  select.sort = sort;
  if (direct) select.index = along, select.begin = program_.indices[along].begin, select.body = body, select.domain = domain;
  else if (masked) select.has_live = true, select.live = live.scratch;
  select.want_values = values;
  select.want_positions = positions;
  Tile best, where;
  if (values) best = input_.gpu && sort ? row : make_tile(note_of(stage) + "_values", type, {kept}, kept), select.values = best.scratch;
  if (positions) where = make_tile(note_of(stage) + "_positions", DType::i32, {kept}, kept), select.positions = where.scratch;
  at->push_back({select});

  auto hand_out = [&](std::size_t which, Expr value) {
    store_row(*at, stage, which, best, kept, kept, value);
  };
  if (values) hand_out(0, read_tile(best));
  if (positions && (sort || stage.targets.size() > 1)) {
    Expr p = read_tile(where);
    const Expr begin = program_.indices[along].begin;
    if (!(pool_.is_integer_constant(begin) && begin == pool_.integer(0)) && !sort)
      p = pool_.where(pool_.apply(Op::ge, {p, pool_.integer(0, DType::i32)}), pool_.add(p, pool_.cast(begin, DType::i32)), p);
    hand_out(sort ? 0 : 1, p);
  }
}

/// Hands a selected row to the tile and the storage of target number `which`.
void GroupLowering::store_row(Block& out, const Stage& stage, std::size_t which, const Tile&, IndexId, IndexId to, Expr value) {
  Stage copy = stage;
  copy.form = Form::pointwise;
  copy.axes.clear();
  copy.free = {to};
  copy.body = value;
  copy.domain = {};
  copy.targets = {stage.targets[which]};
  Nest nest = nest_for(copy, {to});
  auto store = [&](TensorId target, std::vector<Expr> subscripts) {
    Update u;
    u.kind = UpdateKind::store;
    u.target = target;
    u.subscripts = std::move(subscripts);
    u.body = value;
    nest.updates.push_back(u);
  };
  if (auto it = tiles_.find(stage.targets[which]); it != tiles_.end()) store(it->second.scratch, tile_subscripts(it->second));
  if (stage.stores(stage.targets[which])) store(stage.targets[which], stage.subscripts);
  nest.note = "store " + program_.tensors[stage.targets[which]].name;
  out.push_back({std::move(nest)});
}

}  // namespace quern::compiler
