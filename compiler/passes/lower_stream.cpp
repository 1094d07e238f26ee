// The streamed index: reductions that run while it is walked block by block.
// A reduction whose body uses the result y of an earlier one over the same index streams when its body splits
// (algebra.h): the state computed with an old y is corrected to the new one. Online softmax, attention, log-sum-exp and
// softmax-weighted sums all come out of this; nothing here knows their names.
#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "compiler/passes/lower_group.h"
#include "dsl/ir/print_program.h"

namespace quern::compiler {

using namespace ir;
using tile::Block;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

/// A tensor that stands for one value per point of `free` while the kernel runs; make_tiles gives it its tile.
TensorId GroupLowering::state_tensor(const std::string& name, DType type, const std::vector<IndexId>& free) {
  Tensor t;
  t.name = name;
  t.type = type;
  for (IndexId i : free) t.shape.push_back(pool_.sub(program_.indices[i].end, program_.indices[i].begin));
  const TensorId id = program_.add_tensor(t);
  const auto dims = varying(free);
  tiles_[id] = make_tile(name, type, dims, plan_.lane);
  return id;
}
Expr GroupLowering::read_state(TensorId tensor, const std::vector<IndexId>& free) {
  std::vector<Expr> subscripts;
  for (IndexId i : free) subscripts.push_back(pool_.sub(pool_.index(i), program_.indices[i].begin));
  return pool_.read(tensor, program_.tensors[tensor].type, subscripts);
}

/// Turns each reduction over the streamed index into what one point adds; false if one of them does not split.
bool GroupLowering::prepare_running() {
  const IndexId stream = *plan_.stream;
  std::set<TensorId> results;  // running values
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    Stage s = group_.stages[i];
    if (s.is_sequential(stream) || (s.stored && s.is_free(stream))) return false;
    if (!s.reduces(stream)) continue;
    // Whether there is a point at all may follow from bounds: nothing to walk for.
    if (input_.gpu && s.form == Form::reduce && s.reducer == Reducer::any && pool_.is_true(s.body))
      if (const auto known = has_point(s)) {
        s.form = Form::pointwise;
        s.body = *known;
        s.domain = {};
        s.axes.clear();
        group_.stages[i] = s;
        continue;
      }
    bool fails = false;
    // Intermediates of this block, and values between running ones, are written out: then the dependence shows.
    std::function<bool(const Stage&)> follows = [&](const Stage& p) {
      bool found = false;
      for_each_read(pool_, p, [&](Expr, const Node& n) {
        const auto t = static_cast<TensorId>(n.payload);
        if (results.contains(t)) found = true;
        else if (const Stage* q = producer(t); q && !found) found = follows(*q);
      });
      return found;
    };
    std::function<Expr(Expr)> expand = [&](Expr e) -> Expr {
      return pool_.rewrite(e, [&](Expr at) -> Expr {
        const Node n = pool_[at];
        if (n.op != Op::read) return {};
        const auto t = static_cast<TensorId>(n.payload);
        const Stage* p = producer(t);
        if (!p || results.contains(t)) return {};
        const bool late = follows(*p);
        if (p->form == Form::pointwise && (p->has(stream) || late)) return expand(p->body);
        fails |= late;
        return {};
      });
    };
    const Expr body = expand(s.body);
    if (s.domain) s.domain = expand(s.domain);
    if (fails) return false;
    std::vector<Streamed> y;
    std::set<IndexId> depends;
    std::set<TensorId> uses;
    for_each_node(pool_, body, [&](Expr e, const Node& n) {
      const auto t = static_cast<TensorId>(n.payload);
      if (n.op != Op::read || !results.contains(t)) return;
      const Stage& from = *producer(t);
      Running& r = running_.at(t);
      if (!r.previous) r.previous = state_tensor(program_.tensors[t].name + "_old", program_.tensors[t].type, from.free);
      y.push_back({e, pool_.read(r.previous, n.type, n.args)});
      depends.insert(from.free.begin(), from.free.end());
      uses.insert(t);
    });
    bool domain_runs = false;
    for_each_node(pool_, s.domain, [&](Expr, const Node& n) { domain_runs |= n.op == Op::read && results.contains(static_cast<TensorId>(n.payload)); });
    if (domain_runs) return false;
    Running r;
    s.body = body;
    if (!y.empty()) {
      r.shift = split(program_, body, s.axes, y, s.reducer);
      if (!r.shift) return false;
      // An exponent that holds a running sum (a logarithm of it, say) has no finite stand-in while that sum is empty.
      const bool on_sums = std::any_of(uses.begin(), uses.end(), [&](TensorId t) {
        return producer(t)->reducer != Reducer::max && producer(t)->reducer != Reducer::min;
      });
      if (on_sums && r.shift->centres.empty()) return false;
      s.body = r.shift->bodies[0];
      r.depends.assign(depends.begin(), depends.end());
      r.uses.assign(uses.begin(), uses.end());
      const std::string& name = program_.tensors[s.targets[0]].name;
      const DType type = pool_.type(s.body);
      for (std::size_t k = 1; k < r.shift->bodies.size(); ++k) r.sums.push_back(state_tensor(fmt::format("{}_sum{}", name, k), type, s.free));
      for (std::size_t k = 0; k < r.shift->centres.size(); ++k) {
        r.centres.push_back(state_tensor(fmt::format("{}_centre{}", name, k), pool_.type(r.shift->centres[k]), s.free));
        r.next_centres.push_back(state_tensor(fmt::format("{}_next_centre{}", name, k), pool_.type(r.shift->centres[k]), s.free));
      }
    }
    group_.stages[i] = s;
    results.insert(s.targets[0]);
    running_[s.targets[0]] = std::move(r);
  }
  for (const Stage& s : group_.stages)
    if (is_replicable(program_, s) && s.reducer == Reducer::any && s.domain && s.reduces(stream)) live_[{s.domain, s.axes}] = s.targets[0];
  // A row without points keeps the identity; only a row with one may show what `finish` restores.
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    const Stage s = group_.stages[i];
    auto it = running_.find(s.targets[0]);
    if (it == running_.end() || !it->second.shift || !it->second.shift->finish) continue;
    Expr live = pool_.boolean(true);
    for (IndexId a : s.axes) live = pool_.both(live, pool_.less(program_.indices[a].begin, program_.indices[a].end));
    if (const auto known = has_point(s)) {
      live = *known;
    } else if (s.domain) {
      Stage any = s;
      any.reducer = Reducer::any;
      any.body = pool_.boolean(true);
      any.stored = false;
      // Only what the domain knows: other free indices would only repeat it.
      std::erase_if(any.free, [&](IndexId f) { return varies(f) && !pool_.depends_on(s.domain, f); });
      Tensor t;
      t.name = program_.tensors[s.targets[0]].name + "_live";
      t.type = DType::boolean;
      any.subscripts.clear();
      for (IndexId f : any.free) {
        t.shape.push_back(pool_.sub(program_.indices[f].end, program_.indices[f].begin));
        any.subscripts.push_back(pool_.sub(pool_.index(f), program_.indices[f].begin));
      }
      auto [known, fresh] = live_.try_emplace({any.domain, any.axes}, 0);
      if (fresh) {
        known->second = any.targets[0] = program_.add_tensor(t);
        running_[known->second] = {};
        group_.stages.insert(group_.stages.begin() + static_cast<std::ptrdiff_t>(i) + 1, any);
      }
      live = pool_.both(live, read_state(known->second, any.free));
    }
    running_.at(s.targets[0]).live = live;
  }
  drop_unused();
  return true;
}

/// Whether the domain has a point, where that follows from bounds of the streamed index alone.
std::optional<Expr> GroupLowering::has_point(const Stage& s) {
  if (s.axes.size() != 1) return std::nullopt;
  const Index& axis = program_.indices[s.axes[0]];
  Expr begin = axis.begin, end = axis.end, live = pool_.boolean(true);
  for (Expr c : conjuncts(pool_, s.domain)) {
    if (!pool_.depends_on(c, s.axes[0])) {
      live = pool_.both(live, c);
      continue;
    }
    const Node& n = pool_[c];
    const Bounds bounds = bounds_of(pool_, c, s.axes[0], {});
    const std::size_t expected = n.op == Op::eq ? 2 : 1;
    if (bounds.at_least.size() + bounds.at_most.size() != expected) return std::nullopt;
    for (Expr e : bounds.at_least) begin = pool_.max(begin, e);
    for (Expr e : bounds.at_most) end = pool_.min(end, pool_.add(e, pool_.integer(1)));
  }
  return pool_.both(live, pool_.less(begin, end));
}

/// Intermediates that were written out into all their readers.
void GroupLowering::drop_unused() {
  for (bool again = true; again;) {
    again = false;
    for (std::size_t i = group_.stages.size(); i-- > 0;) {
      const Stage& s = group_.stages[i];
      if (s.stored || s.form != Form::pointwise || used_inside_group(s)) continue;
      group_.stages.erase(group_.stages.begin() + static_cast<std::ptrdiff_t>(i));
      again = true;
    }
  }
}

/// Where the stream starts and ends for the task at hand, and when a block needs no test.
void GroupLowering::bound_stream() {
  const IndexId stream = *plan_.stream;
  stream_start_ = program_.indices[stream].begin;
  stream_stop_ = program_.indices[stream].end;
  if (part_count_) {
    auto first = [&](Expr part) {
      const Expr blocks = pool_.apply(Op::floordiv, {pool_.mul(part, part_blocks_), part_count_});
      return pool_.add(program_.indices[stream].begin, pool_.mul(blocks, pool_.integer(plan_.stream_block)));
    };
    stream_start_ = first(pool_.index(part_));
    stream_stop_ = pool_.min(stream_stop_, first(pool_.add(pool_.index(part_), pool_.integer(1))));
  }
  bool first_one = true;
  for (const Stage& s : group_.stages) {
    if (!s.reduces(stream)) continue;
    const auto own = conjuncts(pool_, s.domain);
    if (first_one) common_ = own;
    else std::erase_if(common_, [&](Expr c) { return std::find(own.begin(), own.end(), c) == own.end(); });
    first_one = false;
  }
  std::erase_if(common_, [&](Expr c) {
    // Data computed in this kernel is not known before the loop.
    bool local = false;
    for_each_node(pool_, c, [&](Expr e, const Node& n) { local |= n.op == Op::read && producer(static_cast<TensorId>(n.payload)) && !rising_.contains(e); });
    return local;
  });
  if (common_.empty()) return;
  Box others;
  auto last = [&](Expr end) { return pool_.sub(end, pool_.integer(1)); };
  std::set<IndexId> all;
  for (const Stage& s : group_.stages) {
    all.insert(s.free.begin(), s.free.end());
    all.insert(s.axes.begin(), s.axes.end());
  }
  for (IndexId c : all)
    if (c != stream && varies(c)) others[c] = {first(c), last(stop(c))};
  const Expr start = stream_start_, end = stream_stop_;
  const Expr condition = rows_condition(others);
  std::tie(stream_start_, stream_stop_) = bounds_in(condition, others, start, end);
  Box box = others;
  Expr condition_of_box = condition;
  // The rows of a warp group are a part of the block's.
  if (plan_.groups > 1 && plan_.lane && others.contains(*plan_.lane) && plan_.blocks.at(*plan_.lane) == 64 * plan_.groups) {
    const IndexId group = program_.add_index("group", pool_.integer(0), pool_.integer(plan_.groups));
    const Interval rows = others.at(*plan_.lane);
    const Expr at = pool_.add(rows.first, pool_.mul(pool_.index(group), pool_.integer(64)));
    box[*plan_.lane] = {pool_.min(at, rows.last), pool_.min(pool_.add(at, pool_.integer(63)), rows.last)};
    condition_of_box = rows_condition(box);
    const auto [own_start, own_stop] = bounds_in(condition_of_box, box, start, end);
    if (pool_.depends_on(own_start, group) || pool_.depends_on(own_stop, group)) own_ = tile::For::Own{group, own_start, own_stop};
  }
  box[stream] = {first(stream), last(stop(stream))};
  if (auto full = holds_everywhere(pool_, condition_of_box, box)) full_ = *full;
}

/// What the walk's reductions ask in common of a point whose rows lie in `box`. A value that rises along a row index lies
/// between those of the first and the last row: an index in its place, whose range joins the box.
Expr GroupLowering::rows_condition(Box& box) {
  Expr condition = pool_.boolean(true);
  for (Expr c : common_) condition = pool_.both(condition, c);
  condition = pool_.rewrite(condition, [&](Expr e) -> Expr {
    const auto it = rising_.find(e);
    if (it == rising_.end()) return {};
    const auto [element, row] = it->second;
    if (!box.contains(row)) return element;
    const IndexId value = program_.add_index("value", pool_.integer(0), pool_.integer(0));
    box[value] = {pool_.substitute(element, {{row, box.at(row).first}}), pool_.substitute(element, {{row, box.at(row).last}})};
    return pool_.index(value);
  });
  return localize(condition);
}

/// Start and end of the walk for rows in `box`.
std::pair<Expr, Expr> GroupLowering::bounds_in(Expr condition, const Box& box, Expr start, Expr end) {
  const IndexId stream = *plan_.stream;
  const Bounds bounds = bounds_of(pool_, condition, stream, box);
  for (Expr e : bounds.at_least) start = pool_.max(start, e);
  // Blocks start at multiples of their size, so that rows of memory that are aligned stay so.
  if (input_.gpu && !bounds.at_least.empty()) {
    const Expr begin = program_.indices[stream].begin, block = pool_.integer(plan_.stream_block);
    start = pool_.add(begin, pool_.mul(pool_.apply(Op::floordiv, {pool_.sub(start, begin), block}), block));
  }
  for (Expr e : bounds.at_most) end = pool_.min(end, pool_.add(e, pool_.integer(1)));
  return {start, end};
}

/// One value per point of `free` into the tile of `to`.
void GroupLowering::emit_value(Block& out, TensorId to, const std::vector<IndexId>& free, Expr value, const std::string& note) {
  Stage s;
  s.form = Form::pointwise;
  s.targets = {to};
  s.free = free;
  s.body = value;
  Nest nest = nest_for(s, varying(free));
  Update u;
  u.kind = UpdateKind::store;
  u.target = tiles_.at(to).scratch;
  u.subscripts = tile_subscripts(tiles_.at(to));
  u.body = localize(value);
  nest.updates.push_back(u);
  nest.note = note;
  push(out, std::move(nest));
}

void GroupLowering::emit_identity(Block& out, const Stage& stage) {
  const TensorId target = stage.targets[0];
  const std::string note = "start " + note_of(stage);
  const Running& r = running_.at(target);
  if (auto values = position_tiles_.find(target); values != position_tiles_.end()) {
    const DType type = program_.tensors[values->second.scratch].type;
    tiles_[values->second.scratch] = values->second;
    emit_value(out, values->second.scratch, stage.free, identity_of(pool_, stage.reducer == Reducer::argmax ? Reducer::max : Reducer::min, type), note);
    emit_value(out, target, stage.free, pool_.integer(-1, DType::i32), note);
    return;
  }
  const Expr identity = identity_of(pool_, stage.reducer, program_.tensors[tiles_.at(target).scratch].type);
  emit_value(out, target, stage.free, identity, note);
  for (TensorId t : r.sums) emit_value(out, t, stage.free, identity, note);
  if (r.reference) emit_value(out, r.reference, stage.free, r.reference_start, note);
  for (TensorId t : r.centres) emit_value(out, t, stage.free, zero(pool_, program_.tensors[t].type), note);
}

/// One block's worth of a running reduction: keep the old value where somebody corrects by it, correct, reduce on.
void GroupLowering::emit_running(Block& out, const Stage& stage) {
  const TensorId target = stage.targets[0];
  const Running& r = running_.at(target);
  const Tile tile = tiles_.at(target);
  const DType type = program_.tensors[tile.scratch].type;
  if (r.previous) emit_value(out, r.previous, stage.free, read_state(r.reference ? r.reference : target, stage.free), "old " + note_of(stage));
  if (!r.centres.empty()) return emit_polynomial(out, stage);

  std::vector<IndexId> all = stage.free;
  all.insert(all.end(), stage.axes.begin(), stage.axes.end());
  Nest nest = nest_for(stage, varying(all));
  Update u = update_for(stage);
  u.subscripts = tile_subscripts(tile);
  if (u.has_position_target) {
    const Tile& values = position_tiles_.at(target);
    u.position_target = tile.scratch;
    u.target = values.scratch;
    u.has_value_target = true;
    u.start = read_tile(values);
    u.start_position = pool_.cast(read_tile(tile), DType::i64);
  } else {
    u.target = tile.scratch;
    u.start = read_tile(tile);
    if (r.shift && (r.shift->factor || r.shift->term)) {
      const Expr change = r.shift->factor ? r.shift->factor : r.shift->term;
      const Expr by = pool_.cast(read_tile(tiles_.at(corrections_.at({change, r.depends}))), type);
      u.start = r.shift->factor ? pool_.mul(u.start, by) : pool_.add(u.start, by);
    }
  }
  nest.updates.push_back(u);
  push(out, std::move(nest));
  emit_corrections(out, target);
  if (r.reference) emit_value(out, r.reference, stage.free, r.next_reference, "reference of " + note_of(stage));
}

/// Once `updated` has its new value: the corrections that only waited for it. They have few indices, so they are computed
/// once per block, in tiles that all reductions with the same correction share.
void GroupLowering::emit_corrections(Block& out, TensorId updated) {
  done_.insert(updated);
  std::set<std::pair<Expr, std::vector<IndexId>>> emitted;
  for (const Stage& s : group_.stages) {
    auto it = running_.find(s.targets[0]);
    if (it == running_.end() || !it->second.shift || !it->second.centres.empty()) continue;
    const Running& r = it->second;
    const Expr change = r.shift->factor ? r.shift->factor : r.shift->term;
    if (!change || std::find(r.uses.begin(), r.uses.end(), updated) == r.uses.end()) continue;
    if (!std::all_of(r.uses.begin(), r.uses.end(), [&](TensorId t) { return done_.contains(t); })) continue;
    const std::pair key{change, r.depends};
    if (!emitted.insert(key).second) continue;
    if (!corrections_.contains(key)) corrections_[key] = state_tensor(note_of(s) + "_correction", pool_.type(change), r.depends);
    emit_value(out, corrections_.at(key), r.depends, change, "correction of " + note_of(s));
  }
}

/// A body that is a polynomial in running values: sums of its derivatives at a centre that moves along (algebra.h).
void GroupLowering::emit_polynomial(Block& out, const Stage& stage) {
  const TensorId target = stage.targets[0];
  const Running r = running_.at(target);
  const Shift& shift = *r.shift;
  const std::string name = note_of(stage);
  std::vector<TensorId> sums{target};
  sums.insert(sums.end(), r.sums.begin(), r.sums.end());
  auto at_centres = [&](Expr e, const std::vector<TensorId>& now, const std::vector<TensorId>& next, const std::vector<TensorId>& state) {
    return pool_.rewrite(e, [&](Expr x) -> Expr {
      for (std::size_t k = 0; k < shift.centres.size(); ++k) {
        if (x == shift.centres[k]) return read_state(now[k], stage.free);
        if (x == shift.centres_next[k]) return read_state(next[k], stage.free);
      }
      const Node n = pool_[x];
      if (n.op == Op::accumulator) return read_state(state[static_cast<std::size_t>(n.payload)], stage.free);
      return {};
    });
  };
  auto reduce = [&](TensorId to, TensorId from, Expr body, const std::vector<TensorId>& centres) {
    Stage part = stage;
    part.targets = {to};
    part.body = at_centres(body, centres, centres, sums);
    std::vector<IndexId> all = part.free;
    all.insert(all.end(), part.axes.begin(), part.axes.end());
    Nest nest = nest_for(part, varying(all));
    Update u = update_for(part);
    u.target = tiles_.at(to).scratch;
    u.subscripts = tile_subscripts(tiles_.at(to));
    u.start = read_tile(tiles_.at(from));
    nest.updates.push_back(u);
    push(out, std::move(nest));
  };
  auto copy_of = [&](TensorId t, const std::string& suffix) {
    return state_tensor(program_.tensors[t].name + suffix, program_.tensors[t].type, stage.free);
  };
  if (shift.factor)
    for (TensorId t : sums)
      emit_value(out, t, stage.free, pool_.mul(read_state(t, stage.free), pool_.cast(shift.factor, program_.tensors[t].type)), "correction of " + name);
  std::vector<TensorId> next = r.centres;
  if (!shift.recentre.empty()) {
    std::vector<TensorId> seen, moved;
    for (std::size_t k = 0; k < sums.size(); ++k) {
      seen.push_back(copy_of(sums[k], "_seen"));
      reduce(seen[k], sums[k], shift.bodies[k], r.centres);
    }
    next = r.next_centres;
    for (std::size_t k = 0; k < next.size(); ++k)
      emit_value(out, next[k], stage.free, at_centres(shift.recentre[k], r.centres, next, seen), "centre of " + name);
    for (std::size_t k = 0; k < sums.size(); ++k) {
      moved.push_back(copy_of(sums[k], "_moved"));
      emit_value(out, moved[k], stage.free, at_centres(shift.moved[k], r.centres, next, sums), "moved " + name);
    }
    for (std::size_t k = 0; k < sums.size(); ++k) reduce(sums[k], moved[k], shift.bodies[k], next);
    for (std::size_t k = 0; k < next.size(); ++k)
      emit_value(out, r.centres[k], stage.free, read_state(next[k], stage.free), "centre of " + name);
  } else {
    for (std::size_t k = 0; k < sums.size(); ++k) reduce(sums[k], sums[k], shift.bodies[k], r.centres);
  }
}

/// After the last block: move polynomial sums to where the values ended, restore what the safe form hid.
void GroupLowering::emit_finish(Block& out, const Stage& stage) {
  const TensorId target = stage.targets[0];
  const Running r = running_.at(target);
  if (!r.shift) return;
  const Shift& shift = *r.shift;
  const DType type = program_.tensors[tiles_.at(target).scratch].type;
  if (!r.centres.empty()) {
    std::vector<TensorId> sums{target};
    sums.insert(sums.end(), r.sums.begin(), r.sums.end());
    const Expr value = pool_.rewrite(shift.moved[0], [&](Expr x) -> Expr {
      for (std::size_t k = 0; k < shift.centres.size(); ++k) {
        if (x == shift.centres[k]) return read_state(r.centres[k], stage.free);
        if (x == shift.centres_next[k]) return shift.final_centres[k];
      }
      const Node n = pool_[x];
      if (n.op == Op::accumulator) return pool_.cast(read_state(sums[static_cast<std::size_t>(n.payload)], stage.free), n.type);
      return {};
    });
    emit_value(out, target, stage.free, pool_.cast(value, type), "value of " + note_of(stage));
  }
  if (r.settle) return emit_factor(out, stage);
  const Expr own = read_state(target, stage.free);
  if (shift.finish) {
    const Expr value = pool_.rewrite(shift.finish, [&](Expr x) -> Expr { return pool_[x].op == Op::accumulator ? pool_.cast(own, pool_[x].type) : Expr{}; });
    emit_value(out, target, stage.free, pool_.where(r.live, pool_.cast(value, pool_.type(own)), own), "finish " + note_of(stage));
  }
}

}  // namespace quern::compiler
