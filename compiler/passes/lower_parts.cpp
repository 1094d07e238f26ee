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

  const Expr length = extent(program_, stream), block = pool_.integer(plan_.stream_block);
  auto quotient_up = [&](Expr a, Expr b) { return pool_.apply(Op::floordiv, {pool_.sub(pool_.add(a, b), pool_.integer(1)), b}); };
  // About kTasks tasks in all, each of at least two blocks.
  constexpr std::int64_t kTasks = 2048;
  Expr tasks = pool_.integer(1);
  for (IndexId i : group_.grid) if (is_unit(i)) tasks = pool_.mul(tasks, pool_.max(pool_.integer(1), extent(program_, i)));
  const Expr share = quotient_up(pool_.mul(length, tasks), pool_.integer(kTasks));
  part_length_ = pool_.mul(quotient_up(pool_.max(share, pool_.mul(block, pool_.integer(2))), block), block);
  const Expr count = quotient_up(length, part_length_);
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
    held.shape.insert(held.shape.begin(), count);
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
