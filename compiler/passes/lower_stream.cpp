// The streamed index: reductions that run while it is walked block by block.
// A reduction whose body uses the result y of an earlier one over the same index streams when its body splits,
// F(x, y) = g(x) * h(y): the state computed with an old y is corrected by h(new) / h(old). Online softmax, attention,
// log-sum-exp and softmax-weighted sums all come out of this one rule; nothing here knows their names.
#include <algorithm>

#include <fmt/format.h>

#include "compiler/passes/lower_group.h"
#include "dsl/ir/print_program.h"

namespace quern::compiler {

using namespace ir;
using tile::Block;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {

struct Splitter {
  ExprPool& pool;
  const std::set<TensorId>& running;
  IndexId stream;

  bool uses_running(Expr e) const {
    bool used = false;
    for_each_node(pool, e, [&](Expr, const Node& n) { used |= n.op == Op::read && running.contains(static_cast<TensorId>(n.payload)); });
    return used;
  }
  Expr product(Expr a, Expr b) { return !a ? b : !b ? a : pool.mul(a, b); }
  Expr sum(Expr a, Expr b) { return !a ? b : !b ? a : pool.add(a, b); }

  /// e = (terms without y) + result; a none result stands for 0.
  std::optional<Expr> addend(Expr e) {
    if (!uses_running(e)) return Expr{};
    if (!pool.depends_on(e, stream)) return e;
    const Node n = pool[e];
    switch (n.op) {
      case Op::add: case Op::sub: {
        auto a = addend(n.args[0]);
        auto b = addend(n.args[1]);
        if (!a || !b) return std::nullopt;
        if (n.op == Op::sub && *b) *b = pool.apply(Op::neg, {*b});
        return sum(*a, *b);
      }
      case Op::neg: {
        auto a = addend(n.args[0]);
        if (a && *a) *a = pool.apply(Op::neg, {*a});
        return a;
      }
      case Op::mul: case Op::div:
        for (int side = 0; side < (n.op == Op::mul ? 2 : 1); ++side) {
          const Expr k = n.args[1 - side];
          if (uses_running(k) || pool.depends_on(k, stream)) continue;
          auto a = addend(n.args[side]);
          if (a && *a) *a = pool.apply(n.op, {*a, k});
          return a;
        }
        return std::nullopt;
      case Op::where: {
        // The part in y must be the same in both branches, or a branch is an infinity that swallows it.
        if (uses_running(n.args[0])) return std::nullopt;
        auto a = addend(n.args[1]);
        auto b = addend(n.args[2]);
        double v = 0;
        if (pool.is_real_constant(n.args[2], &v) && v == -std::numeric_limits<double>::infinity()) return a;
        if (!a || !b || *a != *b) return std::nullopt;
        return a;
      }
      default: return std::nullopt;
    }
  }

  std::optional<RunningFactor> factor(Expr e) {
    if (!uses_running(e)) return RunningFactor{};
    if (!pool.depends_on(e, stream)) return RunningFactor{{}, e};
    const Node n = pool[e];
    switch (n.op) {
      case Op::mul: case Op::div: {
        auto a = factor(n.args[0]);
        auto b = factor(n.args[1]);
        if (!a || !b) return std::nullopt;
        if (n.op == Op::mul) return RunningFactor{sum(a->exponent, b->exponent), product(a->factor, b->factor)};
        if (b->exponent) b->exponent = pool.apply(Op::neg, {b->exponent});
        if (b->factor) b->factor = pool.div(pool.real(1, pool.type(b->factor)), b->factor);
        return RunningFactor{sum(a->exponent, b->exponent), product(a->factor, b->factor)};
      }
      case Op::neg: return factor(n.args[0]);
      case Op::cast: return (n.flags & kAllowed) || pool.type(n.args[0]) == DType::f32 || is_float(n.type) ? factor(n.args[0]) : std::nullopt;
      case Op::exp: {
        auto t = addend(n.args[0]);
        if (!t) return std::nullopt;
        return RunningFactor{*t, {}};
      }
      case Op::exp2: {
        auto t = addend(n.args[0]);
        if (!t) return std::nullopt;
        if (*t) *t = pool.mul(*t, pool.real(0.6931471805599453, pool.type(*t)));
        return RunningFactor{*t, {}};
      }
      case Op::where: {
        if (uses_running(n.args[0])) return std::nullopt;
        auto zero = [&](Expr x) { double v = 1; return pool.is_real_constant(x, &v) && v == 0; };
        auto a = factor(n.args[1]);
        auto b = factor(n.args[2]);
        if (a && zero(n.args[2])) return a;
        if (b && zero(n.args[1])) return b;
        if (!a || !b || a->exponent != b->exponent || a->factor != b->factor) return std::nullopt;
        return a;
      }
      default: return std::nullopt;
    }
  }
};

}  // namespace

std::optional<RunningFactor> split_factor(ExprPool& pool, Expr body, const std::set<TensorId>& running, IndexId stream) {
  return Splitter{pool, running, stream}.factor(body);
}

/// Decides for each reduction over the streamed index how it runs; false if one of them does not split.
bool GroupLowering::plan_running() {
  const IndexId stream = *plan_.stream;
  std::set<TensorId> results;
  std::unordered_map<TensorId, std::size_t> stage_of;
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    const Stage& s = group_.stages[i];
    if (s.is_sequential(stream) || (s.stored && s.is_free(stream))) return false;
    if (!s.reduces(stream)) continue;
    Running r;
    r.identity = identity_of(pool_, s.reducer, program_.tensors[s.targets[0]].type);
    // The body with the intermediates of this block written out, so that its dependence on running values shows.
    std::set<TensorId> used;
    std::function<Expr(Expr)> expand = [&](Expr e) -> Expr {
      return pool_.rewrite(e, [&](Expr at) -> Expr {
        const Node n = pool_[at];
        if (n.op != Op::read) return {};
        const auto t = static_cast<TensorId>(n.payload);
        if (results.contains(t)) {
          used.insert(t);
          return {};
        }
        const Stage* p = producer(t);
        // Aligned reads: the definition holds at this very point.
        if (p && p->form == Form::pointwise) return expand(p->body);
        // A value between this reduction and an earlier running one, other than pointwise, would have to run as well.
        return {};
      });
    };
    const Expr body = expand(s.body);
    if (s.domain) expand(s.domain);
    for (const Stage& p : group_.stages) {  // another reduction below this one that uses running values
      if (&p == &s || p.form == Form::pointwise || p.reduces(stream)) continue;
      bool below = false, needs = false;
      for_each_node(pool_, body, [&](Expr, const Node& n) {
        below |= n.op == Op::read && static_cast<TensorId>(n.payload) == p.targets[0];
      });
      for_each_read(pool_, p, [&](Expr, const Node& n) { needs |= results.contains(static_cast<TensorId>(n.payload)); });
      if (below && needs) return false;
    }
    if (!used.empty()) {
      if (s.reducer != Reducer::sum) return false;
      const auto split = split_factor(pool_, body, used, stream);
      if (!split) return false;
      r.depends.assign(used.begin(), used.end());
      Expr ratio;
      auto at = [&](Expr e, bool old) {
        return pool_.rewrite(e, [&](Expr x) -> Expr {
          const Node n = pool_[x];
          if (n.op != Op::read || !used.contains(static_cast<TensorId>(n.payload))) return {};
          const Running& y = running_.at(stage_of.at(static_cast<TensorId>(n.payload)));
          const Tile& tile = tiles_.at(static_cast<TensorId>(n.payload));
          const TensorId from = old ? y.previous : y.shift ? y.shift : tile.scratch;
          return pool_.read(from, program_.tensors[from].type, tile_subscripts(tile));
        });
      };
      std::string text;
      Expr same = pool_.boolean(true);
      for (TensorId t : used) {
        Running& y = running_.at(stage_of.at(t));
        const Tile tile = tiles_.at(t);
        const Stage& from = group_.stages[stage_of.at(t)];
        const std::string& base = program_.tensors[t].name;
        if (!y.previous) y.previous = make_tile(base + "_old", program_.tensors[t].type, tile.dims, plan_.lane).scratch;
        const bool extreme = from.reducer == Reducer::max || from.reducer == Reducer::min;
        if (!y.shift && extreme) y.shift = make_tile(base + "_used", program_.tensors[t].type, tile.dims, plan_.lane).scratch;
        const Expr before = pool_.read(y.previous, program_.tensors[t].type, tile_subscripts(tile));
        same = pool_.both(same, pool_.apply(Op::or_, {pool_.apply(Op::eq, {before, read_tile(tile)}), pool_.apply(Op::eq, {before, y.identity})}));
      }
      if (split->exponent) {
        ratio = pool_.apply(Op::exp, {pool_.sub(at(split->exponent, false), at(split->exponent, true))});
        text = fmt::format("exp({})", print_expr(program_, split->exponent));
      }
      if (split->factor) {
        const Expr q = pool_.div(at(split->factor, false), at(split->factor, true));
        ratio = ratio ? pool_.mul(ratio, q) : q;
        text += (text.empty() ? "" : " * ") + print_expr(program_, split->factor);
      }
      if (!ratio) return false;
      r.correction = pool_.where(same, pool_.real(1, pool_.type(ratio)), ratio);
      std::vector<std::string> by;
      for (TensorId t : used) by.push_back(program_.tensors[t].name);
      r.derivation = fmt::format("{} = sum[{}] F, F splits as g({}) * h({}) with h = {}; state <- state * h(new) / h(old)",
                                 program_.tensors[s.targets[0]].name, program_.indices[stream].name, program_.indices[stream].name,
                                 fmt::join(by, ", "), text);
    }
    results.insert(s.targets[0]);
    stage_of[s.targets[0]] = i;
    running_[i] = r;
  }
  return true;
}

/// Where the stream starts and ends for the task at hand, and when a block needs no test.
void GroupLowering::bound_stream() {
  const IndexId stream = *plan_.stream;
  stream_start_ = program_.indices[stream].begin;
  stream_stop_ = program_.indices[stream].end;
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
    for_each_node(pool_, c, [&](Expr, const Node& n) { local |= n.op == Op::read && producer(static_cast<TensorId>(n.payload)); });
    return local;
  });
  if (common_.empty()) return;
  Expr condition = pool_.boolean(true);
  for (Expr c : common_) condition = pool_.both(condition, c);
  Box others;
  auto last = [&](Expr end) { return pool_.sub(end, pool_.integer(1)); };
  std::set<IndexId> all;
  for (const Stage& s : group_.stages) {
    all.insert(s.free.begin(), s.free.end());
    all.insert(s.axes.begin(), s.axes.end());
  }
  for (IndexId c : all)
    if (c != stream && varies(c)) others[c] = {first(c), last(stop(c))};
  const Bounds bounds = bounds_of(pool_, condition, stream, others);
  for (Expr e : bounds.at_least) stream_start_ = pool_.max(stream_start_, e);
  for (Expr e : bounds.at_most) stream_stop_ = pool_.min(stream_stop_, pool_.add(e, pool_.integer(1)));
  Box box = others;
  box[stream] = {first(stream), last(stop(stream))};
  if (auto full = holds_everywhere(pool_, condition, box)) full_ = *full;
}

void GroupLowering::emit_identity(Block& out, const Stage& stage) {
  const bool positions = stage.reducer == Reducer::argmax || stage.reducer == Reducer::argmin;
  auto fill = [&](const Tile& tile, Expr value) {
    Stage copy = stage;
    copy.form = Form::pointwise;
    copy.axes.clear();
    copy.domain = {};
    copy.body = value;
    copy.stored = false;
    Nest nest = nest_for(copy, varying(copy.free));
    Update u;
    u.kind = UpdateKind::store;
    u.target = tile.scratch;
    u.subscripts = tile_subscripts(tile);
    u.body = value;
    nest.updates.push_back(u);
    nest.note = "start " + note_of(stage);
    push(out, std::move(nest));
  };
  const Tile& tile = tiles_.at(stage.targets[0]);
  if (positions) {
    const Tile& values = position_tiles_.at(stage.targets[0]);
    fill(values, identity_of(pool_, stage.reducer == Reducer::argmax ? Reducer::max : Reducer::min, program_.tensors[values.scratch].type));
    fill(tile, pool_.integer(-1, DType::i32));
  } else {
    fill(tile, identity_of(pool_, stage.reducer, program_.tensors[stage.targets[0]].type));
  }
}

/// One block's worth of a running reduction: keep the old value where somebody corrects by it, reduce on, publish.
void GroupLowering::emit_running(Block& out, const Stage& stage) {
  const Running& r = running_.at(static_cast<std::size_t>(&stage - group_.stages.data()));
  const Tile tile = tiles_.at(stage.targets[0]);
  const DType type = program_.tensors[stage.targets[0]].type;
  auto store = [&](TensorId to, Expr value, const std::string& note) {
    Stage copy = stage;
    copy.form = Form::pointwise;
    copy.axes.clear();
    copy.domain = {};
    copy.body = value;
    copy.stored = false;
    std::vector<IndexId> dims = tile.dims;
    Nest nest = nest_for(copy, dims);
    Update u;
    u.kind = UpdateKind::store;
    u.target = to;
    u.subscripts = tile_subscripts(tile);
    u.body = value;
    nest.updates.push_back(u);
    nest.note = note;
    push(out, std::move(nest));
  };
  auto at = [&](TensorId scratch) { return pool_.read(scratch, program_.tensors[scratch].type, tile_subscripts(tile)); };
  if (r.previous) store(r.previous, read_tile(tile), "old " + note_of(stage));

  std::vector<IndexId> all = stage.free;
  all.insert(all.end(), stage.axes.begin(), stage.axes.end());
  Nest nest = nest_for(stage, varying(all));
  Update u = update_for(stage);
  u.subscripts = tile_subscripts(tile);
  if (u.has_position_target) {
    const Tile& values = position_tiles_.at(stage.targets[0]);
    u.position_target = tile.scratch;
    u.target = values.scratch;
    u.has_value_target = true;
    u.start = read_tile(values);
    u.start_position = pool_.cast(read_tile(tile), DType::i64);
  } else {
    u.target = tile.scratch;
    u.start = read_tile(tile);
    if (r.correction) {
      // The correction has few indices: computed once per block in a tile of its own.
      std::vector<IndexId> dims;
      for (TensorId y : r.depends)
        for (IndexId d : tiles_.at(y).dims)
          if (std::find(dims.begin(), dims.end(), d) == dims.end()) dims.push_back(d);
      const Tile factor = make_tile(note_of(stage) + "_correction", pool_.type(r.correction), dims, plan_.lane);
      Stage copy = stage;
      copy.form = Form::pointwise;
      copy.axes.clear();
      copy.free = dims;
      copy.domain = {};
      copy.body = r.correction;
      copy.stored = false;
      Nest compute = nest_for(copy, dims);
      Update c;
      c.kind = UpdateKind::store;
      c.target = factor.scratch;
      c.subscripts = tile_subscripts(factor);
      c.body = r.correction;
      compute.updates.push_back(c);
      compute.note = "correction of " + note_of(stage);
      push(out, std::move(compute));
      u.start = pool_.mul(u.start, pool_.cast(read_tile(factor), type));
    }
  }
  nest.updates.push_back(u);
  push(out, std::move(nest));

  if (r.shift) {
    const Expr y = read_tile(tile);
    const Expr zero = is_float(type) ? pool_.real(0, type) : pool_.integer(0, type);
    store(r.shift, pool_.where(pool_.apply(Op::eq, {y, r.identity}), zero, y), "used " + note_of(stage));
    instead_[stage.targets[0]] = at(r.shift);
  }
}

}  // namespace quern::compiler
