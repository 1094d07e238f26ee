// References: sums made relative to a running maximum follow it only once it is far ahead, so that most blocks correct nothing.
// What the sums are made with is a value of its own, the reference; after the walk one correction brings them from there to
// the maximum, so whoever reads sums or maximum sees what is written. (The conditional rescaling of FlashAttention-4, for every
// sum that algebra.h corrects by a factor.)
#include <algorithm>

#include "compiler/passes/lower_group.h"

namespace quern::compiler {

using namespace ir;
using tile::Block;

namespace {

/// Sums made with a reference are at most 1 / kLeast times as large: what f16 holds of weights up to 1 leaves room for that.
constexpr double kLeast = 0x1p-8;

Expr replace_reads(ExprPool& pool, Expr e, TensorId from, TensorId to) {
  return pool.rewrite(e, [&](Expr x) -> Expr {
    const Node n = pool[x];
    return n.op == Op::read && static_cast<TensorId>(n.payload) == from ? pool.read(to, n.type, n.args) : Expr{};
  });
}

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

}  // namespace

void GroupLowering::choose_references() {
  if (plan_.groups == 0 || program_.annotations.precise) return;
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
      fits = fits && it != running_.end() && it->second.shift && s.reducer == Reducer::sum;
      if (!fits) break;
      const Running& r = it->second;
      fits = r.shift->factor && r.centres.empty() && r.uses.size() == 1 && r.depends.size() == y.free.size() && (!factor || factor == r.shift->factor) && !may_leave_range(program_, s);
      factor = r.shift->factor;
      sums.push_back(&s);
    }
    if (!fits || sums.empty()) continue;
    own.reference = state_tensor(program_.tensors[maximum].name + "_reference", program_.tensors[maximum].type, y.free);
    references_.insert(own.reference);
    const DType type = pool_.type(factor);
    const Expr near = pool_.both(pool_.apply(Op::le, {pool_.real(kLeast, type), factor}), pool_.apply(Op::le, {factor, pool_.real(1, type)}));
    for (Stage* s : sums) {
      Running& r = running_.at(s->targets[0]);
      s->body = replace_reads(pool_, s->body, maximum, own.reference);
      r.settle = replace_reads(pool_, factor, own.previous, own.reference);
      r.shift->factor = pool_.where(near, pool_.real(1, type), factor);
      r.shift->derivation.push_back("sums are corrected once the factor is below 2^-8, and after the walk");
    }
  }
}

/// The reference for the block at hand, once its correction is known: the maximum where that differs from 1.
void GroupLowering::emit_reference(Block& out, const Stage& maximum) {
  const Running& own = running_.at(maximum.targets[0]);
  for (const Stage& s : group_.stages) {
    const auto it = running_.find(s.targets[0]);
    if (it == running_.end() || !it->second.settle || it->second.uses[0] != maximum.targets[0]) continue;
    const TensorId correction = corrections_.at({it->second.shift->factor, it->second.depends});
    const Expr stays = pool_.apply(Op::eq, {read_state(correction, it->second.depends), pool_.real(1, program_.tensors[correction].type)});
    emit_value(out, own.reference, maximum.free, pool_.where(stays, read_state(own.previous, maximum.free), read_state(maximum.targets[0], maximum.free)), "reference of " + note_of(maximum));
    return;
  }
}

/// Behind the walk: corrections from the references to the values.
void GroupLowering::settle_references(Block& out) {
  std::set<TensorId> settled;
  for (const Stage& s : group_.stages) {
    const auto it = running_.find(s.targets[0]);
    if (it == running_.end() || !it->second.settle) continue;
    const TensorId correction = corrections_.at({it->second.shift->factor, it->second.depends});
    if (settled.insert(correction).second) emit_value(out, correction, it->second.depends, it->second.settle, "last correction of " + note_of(s));
  }
}

}  // namespace quern::compiler
