// Few rows over a long walk: parts of the streamed index are tasks of their own, and a second kernel merges what they hold.
// In: a group whose reductions over the stream run (lower_stream.cpp). Out: its kernel with one more grid dimension, which stores
// the running values of its part instead of what follows from them, and the group that merges: a maximum of maxima, and sums
// of sums, each corrected from its own part's running values to the final ones by the same rule (algebra.h) that corrects them
// from block to block. Parts are merged in a fixed order: the same bits every run.
#include <algorithm>

#include <fmt/format.h>

#include "compiler/passes/lower_group.h"

namespace quern::compiler {

using namespace ir;

/// How many tasks a large GPU (132 multiprocessors with 228 KB of shared memory each) has under way: blocks of a warp, by their
/// operand tiles. With other numbers the balance is another, not the result.
std::int64_t GroupLowering::tasks_at_once() {
  constexpr std::int64_t kMultiprocessors = 132, kShared = 228 << 10, kOfBlock = 1 << 10, kMost = 16;
  std::int64_t bytes = kOfBlock;
  for (const Stage& s : group_.stages) {
    if (!has_reuse(program_, s)) continue;
    for_each_read(pool_, s, [&](Expr e, const Node& n) {
      if (producer(static_cast<TensorId>(n.payload))) return;
      std::int64_t points = 1;
      for (IndexId i : varying(pool_.free_indices(e)))
        points *= i == *plan_.stream ? plan_.stream_block : plan_.blocks.contains(i) ? plan_.blocks.at(i) : constant_extent(program_, i).value_or(64) + 8;
      bytes += points * static_cast<std::int64_t>(size_of(n.type));
    });
  }
  return kMultiprocessors * std::clamp<std::int64_t>(kShared / bytes, 1, kMost);
}

/// Whether all that runs can be merged; what the merging group is made of is then in `parts_`.
bool GroupLowering::prepare_parts() {
  const IndexId stream = *plan_.stream;
  std::set<TensorId> corrected_by;
  for (const Stage& s : group_.stages) {
    if (!s.has(stream)) {
      if (s.form != Form::pointwise) return false;
      continue;
    }
    if (!s.reduces(stream)) continue;
    if (s.axes.size() != 1 || s.reducer == Reducer::argmax || s.reducer == Reducer::argmin || s.reducer == Reducer::prod) return false;
    const Running& r = running_.at(s.targets[0]);
    if (!r.centres.empty() || !r.sums.empty()) return false;
    corrected_by.insert(r.uses.begin(), r.uses.end());
  }
  for (TensorId t : corrected_by)
    if (const Running& r = running_.at(t); r.shift && r.shift->finish) return false;

  // As many tasks as run at once, all of them alike: what they read together bounds them, and they end together. More than that: four
  // rounds of them, so that the last round, in which few are left to read, is short.
  Expr tasks = pool_.integer(1);
  for (IndexId i : group_.grid) {
    if (is_unit(i)) tasks = pool_.mul(tasks, extent(program_, i));
    else if (plan_.f32) tasks = pool_.mul(tasks, pool_.apply(Op::floordiv, {pool_.add(extent(program_, i), pool_.integer(plan_.blocks.at(i) - 1)), pool_.integer(plan_.blocks.at(i))}));
  }
  tasks = pool_.max(tasks, pool_.integer(1));
  const std::int64_t slots = tasks_at_once();
  const Expr at_once = pool_.apply(Op::floordiv, {pool_.integer(slots), tasks}), rounds = pool_.add(pool_.apply(Op::floordiv, {pool_.integer(4 * slots), tasks}), pool_.integer(1));
  part_blocks_ = pool_.apply(Op::floordiv, {pool_.add(extent(program_, stream), pool_.integer(plan_.stream_block - 1)), pool_.integer(plan_.stream_block)});
  const Expr count = pool_.min(part_blocks_, pool_.where(pool_.apply(Op::le, {tasks, pool_.integer(slots)}), at_once, rounds));
  part_count_ = count;
  const std::string name = program_.indices[stream].name;
  part_ = program_.add_index(name + "_part", pool_.integer(0), count);
  const IndexId merged = program_.add_index(name + "_merged", pool_.integer(0), count);
  for (const Stage& s : group_.stages) {
    if (!s.reduces(stream)) continue;
    const TensorId t = s.targets[0];
    Tensor held = program_.tensors[t];
    held.name += "_part";
    held.role = Role::temp;
    held.entry.reset();
    held.type = s.reducer == Reducer::any || s.reducer == Reducer::all ? DType::boolean : pool_.type(s.body);
    held.shape.insert(held.shape.begin(), plan_.when ? pool_.where(plan_.when, count, pool_.integer(0)) : count);
    held_[t] = program_.add_tensor(held);
  }
  auto held_read = [&](TensorId t, std::vector<Expr> subscripts) {
    subscripts.insert(subscripts.begin(), pool_.index(merged));
    return pool_.read(held_.at(t), program_.tensors[held_.at(t)].type, subscripts);
  };
  merging_.grid = group_.grid;
  merging_.why = {fmt::format("parts of index {} are merged in order", name)};
  for (const Stage& s : group_.stages) {
    if (s.has(stream) && !s.reduces(stream)) continue;
    if (!s.reduces(stream)) {
      merging_.stages.push_back(s);
      continue;
    }
    const TensorId t = s.targets[0];
    const Running& r = running_.at(t);
    Stage merge = s;
    merge.axes = {merged};
    merge.domain = {};
    merge.body = held_read(t, s.subscripts);
    if (r.shift && (r.shift->factor || r.shift->term)) {
      const Expr change = pool_.rewrite(r.shift->factor ? r.shift->factor : r.shift->term, [&](Expr e) -> Expr {
        const Node n = pool_[e];
        if (n.op != Op::read) return {};
        for (TensorId y : r.uses)
          if (running_.at(y).previous == static_cast<TensorId>(n.payload)) return pool_.cast(held_read(y, n.args), n.type);
        return {};
      });
      const Expr by = pool_.cast(change, pool_.type(merge.body));
      merge.body = r.shift->factor ? pool_.mul(merge.body, by) : pool_.add(merge.body, by);
    }
    if (!r.shift || !r.shift->finish) {
      merging_.stages.push_back(merge);
      continue;
    }
    Tensor raw = program_.tensors[t];
    raw.name += "_merged";
    raw.role = Role::temp;
    raw.entry.reset();
    raw.type = pool_.type(merge.body);
    Stage finished = s;
    const TensorId raw_id = program_.add_tensor(raw);
    merge.targets = {raw_id};
    merge.stored = false;
    merge.stored_targets.clear();
    const Expr own = pool_.read(raw_id, raw.type, s.subscripts);
    const Expr value = pool_.rewrite(r.shift->finish, [&](Expr x) -> Expr { return pool_[x].op == Op::accumulator ? pool_.cast(own, pool_[x].type) : Expr{}; });
    finished.form = Form::pointwise;
    finished.axes.clear();
    finished.domain = {};
    finished.body = pool_.cast(pool_.where(r.live, pool_.cast(value, raw.type), own), program_.tensors[t].type);
    merging_.stages.push_back(merge);
    merging_.stages.push_back(finished);
  }
  // A value that a correction or an end waits for comes first.
  std::vector<Stage> ordered;
  std::set<TensorId> done, own;
  for (const Stage& s : merging_.stages) own.insert(s.targets.begin(), s.targets.end());
  while (ordered.size() < merging_.stages.size()) {
    const std::size_t before = ordered.size();
    for (const Stage& s : merging_.stages) {
      if (done.contains(s.targets[0])) continue;
      bool ready = true;
      for_each_read(pool_, s, [&](Expr, const Node& n) {
        const auto t = static_cast<TensorId>(n.payload);
        ready &= !own.contains(t) || done.contains(t);
      });
      if (!ready) continue;
      ordered.push_back(s);
      done.insert(s.targets.begin(), s.targets.end());
    }
    if (ordered.size() == before) return false;
  }
  merging_.stages = std::move(ordered);
  // Only what leads to a result.
  for (bool again = true; again;) {
    again = false;
    for (std::size_t i = merging_.stages.size(); i-- > 0;) {
      const Stage& s = merging_.stages[i];
      bool used = s.stored;
      for (const Stage& reader : merging_.stages)
        for_each_read(pool_, reader, [&](Expr, const Node& n) { used |= std::find(s.targets.begin(), s.targets.end(), static_cast<TensorId>(n.payload)) != s.targets.end(); });
      if (used) continue;
      merging_.stages.erase(merging_.stages.begin() + static_cast<std::ptrdiff_t>(i));
      again = true;
    }
  }
  for (Stage& s : group_.stages) s.stored = false, s.stored_targets.clear();
  kernel_.grid.push_back({part_, pool_.integer(0), count, 1});
  kernel_.why.push_back(fmt::format("index {} is walked in parts, each a task; another kernel merges them", name));
  return true;
}

std::vector<TensorId> GroupLowering::held() const {
  std::vector<TensorId> out;
  for (const auto& [running, part] : held_) out.push_back(part);
  return out;
}

/// The running value of this part.
void GroupLowering::emit_part(tile::Block& out, const Stage& stage) {
  const TensorId target = stage.targets[0];
  const Tile tile = tiles_.at(target);
  Stage copy = stage;
  copy.form = Form::pointwise;
  copy.axes.clear();
  copy.domain = {};
  copy.stored = true;
  copy.targets = {held_.at(target)};
  copy.subscripts.insert(copy.subscripts.begin(), pool_.index(part_));
  copy.body = read_tile(tile);
  tile::Nest nest = nest_for(copy, varying(copy.free));
  tile::Update u;
  u.kind = tile::UpdateKind::store;
  u.target = held_.at(target);
  u.subscripts = copy.subscripts;
  u.body = pool_.cast(copy.body, program_.tensors[held_.at(target)].type);
  nest.updates.push_back(u);
  nest.note = "part of " + note_of(stage);
  push(out, std::move(nest));
}

}  // namespace quern::compiler
