// References: sums made relative to a running maximum follow it only once it is far ahead, so that most blocks correct nothing.
// What the sums are made with is a value of its own, the reference; after the walk one correction brings them from there to
// the maximum, so whoever reads sums or maximum sees what is written. (The conditional rescaling of FlashAttention-4, for every
// sum that algebra.h corrects by a factor.)
#include <algorithm>
#include <limits>

#include "compiler/passes/lower_group.h"

namespace quern::compiler {

using namespace ir;
using tile::Block;

namespace {

/// Sums made with a reference are at most 1 / kLeast times as large: what f16 holds of weights up to 1 leaves room for that.
constexpr double kLeast = 0x1p-8;

/// where(x == -inf, start, x), x a read of a maximum: what sums use in place of one that may still be -inf (algebra.h).
struct StandIn {
  Expr value, start;  // none: not seen yet

  /// Each of them becomes a read of `to`. None if x is read in another way, or with another start.
  std::optional<Expr> replaced(ExprPool& pool, Expr e, TensorId from, TensorId to) {
    bool same = true;
    const Expr result = pool.rewrite(e, [&](Expr x) -> Expr {
      const Node n = pool[x];
      if (n.op != Op::where || pool[n.args[0]].op != Op::eq) return {};
      const Node test = pool[n.args[0]], read = pool[n.args[2]];
      double lowest = 0;
      if (test.args[0] != n.args[2] || read.op != Op::read || static_cast<TensorId>(read.payload) != from) return {};
      if (!pool.is_real_constant(n.args[1]) || !pool.is_real_constant(test.args[1], &lowest) || lowest != -std::numeric_limits<double>::infinity()) return {};
      same = same && (!start || start == n.args[1]);
      start = n.args[1], value = x;
      return pool.read(to, read.type, read.args);
    });
    for_each_node(pool, result, [&](Expr, const Node& n) { same = same && !(n.op == Op::read && static_cast<TensorId>(n.payload) == from); });
    return same ? std::optional(result) : std::nullopt;
  }
};

/// A product of f16 whose weights are no bare exponentials might leave its range.
bool may_leave_range(const Program& p, const Stage& s) {
  const ExprPool& pool = p.pool;
  const Node& product = pool[s.body];
  if (!has_reuse(p, s) || product.op != Op::mul) return false;
  auto is_half = [&](Expr e) {
    const Node& n = pool[e];
    return n.op == Op::cast && pool.type(n.args[0]) == DType::f16;
  };
  auto is_weight = [&](Expr e) { return pool[e].op == Op::exp || pool[e].op == Op::exp2; };
  const Expr a = product.args[0], b = product.args[1];
  return (is_half(a) && !is_weight(b)) || (is_half(b) && !is_weight(a));
}

/// g where e = accumulator * g; none where it is no such product.
std::optional<Expr> multiple_of_accumulator(ExprPool& pool, Expr e) {
  const Node n = pool[e];
  if (n.op == Op::accumulator) return pool.real(1, n.type);
  if (n.op == Op::mul)
    for (std::size_t side = 0; side < 2; ++side)
      if (const auto g = multiple_of_accumulator(pool, n.args[side])) return pool.mul(*g, n.args[1 - side]);
  if (n.op != Op::where) return std::nullopt;
  const auto a = multiple_of_accumulator(pool, n.args[1]), b = multiple_of_accumulator(pool, n.args[2]);
  return a && b ? std::optional(pool.where(n.args[0], *a, *b)) : std::nullopt;
}

}  // namespace

void GroupLowering::choose_references() {
  if (plan_.groups == 0 || !plan_.references || program_.annotations.precise) return;
  const IndexId stream = *plan_.stream;
  for (const Stage& y : group_.stages) {
    if (y.form != Form::reduce || y.reducer != Reducer::max || y.targets.size() != 1 || !y.reduces(stream)) continue;
    const TensorId maximum = y.targets[0];
    Running& own = running_.at(maximum);
    if (own.shift || !own.previous) continue;
    std::vector<Stage*> sums;
    Expr factor;
    bool fits = true;
    for (Stage& s : group_.stages) {
      bool reads = false;
      for_each_read(pool_, s, [&](Expr, const Node& n) { reads |= static_cast<TensorId>(n.payload) == maximum; });
      if (!reads || !(s.has(stream) || s.reduces(stream))) continue;
      const auto it = running_.find(s.targets[0]);
      fits = fits && it != running_.end() && it->second.shift && s.reducer == Reducer::sum && (!it->second.shift->finish || multiple_of_accumulator(pool_, it->second.shift->finish));
      if (!fits) break;
      const Running& r = it->second;
      fits = r.shift->factor && r.centres.empty() && r.uses.size() == 1 && r.depends.size() == y.free.size() && (!factor || factor == r.shift->factor) && !may_leave_range(program_, s);
      factor = r.shift->factor;
      sums.push_back(&s);
    }
    if (!fits || sums.empty()) continue;
    StandIn of_maximum, of_previous;
    std::vector<Expr> bodies;
    const TensorId reference = state_tensor(program_.tensors[maximum].name + "_reference", program_.tensors[maximum].type, y.free);
    const auto settle = of_previous.replaced(pool_, factor, own.previous, reference);
    fits = settle && of_maximum.replaced(pool_, factor, maximum, reference) && of_maximum.start == of_previous.start;
    for (const Stage* s : sums)
      if (const auto body = of_maximum.replaced(pool_, s->body, maximum, reference); body && fits) bodies.push_back(*body);
    if (bodies.size() != sums.size()) continue;
    // `previous` is the reference of the block before. The first block takes its own maximum, so that what is made of it alone
    // is as exact as without references; finite, as it is subtracted.
    references_.insert(reference);
    own.reference = reference;
    own.reference_start = pool_.real(-0x1.fffffep127, program_.tensors[reference].type);
    const Expr before = pool_.read(own.previous, pool_[of_previous.value].type, pool_[pool_[of_previous.value].args[2]].args);
    const Expr change = pool_.rewrite(factor, [&](Expr x) { return x == of_previous.value ? before : Expr{}; });
    const Node bounded = pool_[change];
    const Expr free = bounded.op == Op::min && pool_.is_real_constant(bounded.args[1]) ? bounded.args[0] : change;
    const DType type = pool_.type(change);
    const Expr near = pool_.both(pool_.apply(Op::le, {pool_.real(kLeast, type), free}), pool_.apply(Op::le, {free, pool_.real(1, type)}));
    own.next_reference = pool_.where(near, before, of_maximum.value);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      Running& r = running_.at(sums[i]->targets[0]);
      sums[i]->body = bodies[i];
      r.settle = *settle;
      r.shift->factor = pool_.where(near, pool_.real(1, type), change);
      r.shift->derivation.push_back("sums are corrected once the factor is below 2^-8, and after the walk");
    }
  }
}

/// Behind the walk: what a sum is multiplied by to come from its reference to the value, and what Shift::finish adds to that, in
/// one factor for each row that sums with the same one share.
void GroupLowering::emit_factor(Block& out, const Stage& sum) {
  const Running& r = running_.at(sum.targets[0]);
  const TensorId correction = corrections_.at({r.shift->factor, r.depends});
  Expr factor = r.settle;
  if (r.shift->finish) factor = pool_.where(r.live, pool_.mul(factor, pool_.cast(*multiple_of_accumulator(pool_, r.shift->finish), pool_.type(factor))), factor);
  auto [it, fresh] = settled_.try_emplace(factor, correction);
  if (fresh) {
    if (settled_.size() > 1) it->second = state_tensor(note_of(sum) + "_last_correction", pool_.type(factor), r.depends);
    emit_value(out, it->second, r.depends, factor, "last correction of " + note_of(sum));
  }
  const Expr own = read_state(sum.targets[0], sum.free);
  emit_value(out, sum.targets[0], sum.free, pool_.mul(own, pool_.cast(read_state(it->second, r.depends), pool_.type(own))), "finish " + note_of(sum));
}

}  // namespace quern::compiler
