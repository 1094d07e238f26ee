// x[lo:hi:step], x[:, None], x[..., 0], E[ids]: subscripts of whole tensors, as NumPy reads them.
// The one idea: a slice never clamps; what it needs of the sizes becomes a condition on the call. Tensors as subscripts
// go through the same checked read as in index form.
#include <algorithm>

#include "dsl/check/whole_tensor.h"

namespace quern::dsl {

using ir::Expr;
using ir::Op;

bool WholeTensors::require_at_most(Expr low, Expr high, Span at) {
  const auto room = el_.sizes.normal(pool_.sub(high, low), Reading::values).as_constant();
  if ((room && *room < 0) || el_.proofs.less(high, low)) {
    el_.diagnostics.report<Code::slice_outside>(at, el_.sizes.text(low), el_.sizes.text(high))
        .label("reaches outside the axis")
        .fix("slices and positions never clamp: stay between 0 and the size of the axis");
    return false;
  }
  el_.require(pool_.apply(Op::le, {low, high}), at);
  return true;
}

bool WholeTensors::is_negative(const ast::Expr& e, Expr value) const {
  std::int64_t constant = 0;
  if (pool_.is_integer_constant(value, &constant)) return constant < 0;
  const auto* unary = std::get_if<ast::Unary>(&e.node);
  return unary != nullptr && unary->op == Op::neg;
}

Expr WholeTensors::from_end(const ast::Expr& e, Expr value, Expr extent) {
  if (!is_negative(e, value)) return value;
  return el_.sizes.expression(el_.sizes.normal(pool_.add(extent, value)));
}

WholeTensors::Cut WholeTensors::cut(const ast::Slice& slice, Expr extent, Span at) {
  Cut result;
  if (slice.step) {
    const auto step = constant(*slice.step, "the step of a slice");
    if (!step) return result;
    if (*step == 0) {
      el_.diagnostics.report<Code::slice_step>(slice.step->span).label("a slice moves");
      return result;
    }
    result.step = *step;
  }
  const bool forward = result.step > 0;
  const Expr zero = pool_.integer(0), one = pool_.integer(1);
  const auto bound = [&](const ast::ExprPtr& written, Expr otherwise) -> Expr {
    if (!written) return otherwise;
    const Expr value = el_.size_expression(*written);
    return value ? from_end(*written, value, extent) : Expr{};
  };
  const Expr first = bound(slice.begin, forward ? zero : pool_.sub(extent, one));
  const Expr stop = bound(slice.end, forward ? extent : pool_.integer(-1));
  if (!first || !stop) return result;
  // Downward the first entry itself must be there.
  const Expr limit = forward ? extent : pool_.sub(extent, one);
  const auto inside = [&](const ast::ExprPtr& written, Expr value) {
    return !written || (require_at_most(zero, value, written->span) && require_at_most(value, limit, written->span));
  };
  if (!inside(slice.begin, first) || !inside(slice.end, stop)) return result;
  if (slice.begin && slice.end && !require_at_most(forward ? first : stop, forward ? stop : first, at)) return result;
  const Expr length = forward ? pool_.sub(stop, first) : pool_.sub(first, stop);
  const std::int64_t stride = forward ? result.step : -result.step;
  result.extent = el_.sizes.expression(el_.sizes.normal(length));
  if (stride != 1) result.extent = pool_.apply(Op::floordiv, {pool_.add(result.extent, pool_.integer(stride - 1)), pool_.integer(stride)});
  result.start = first;
  result.ok = true;
  return result;
}

/// Made of sizes and constants: its range is a condition on the call, not on data.
bool WholeTensors::is_static(const Whole& x) const {
  if (x.rank() != 0 || !pool_.free_indices(x.value.expr).empty()) return false;
  std::vector<Expr> open{x.value.expr};
  std::set<Expr> seen;
  while (!open.empty()) {
    const Expr e = open.back();
    open.pop_back();
    if (!seen.insert(e).second) continue;
    const ir::Node& n = pool_[e];
    if (n.op == Op::read || n.op == Op::scalar || n.op == Op::reduce) return false;
    open.insert(open.end(), n.args.begin(), n.args.end());
  }
  return true;
}

Expr WholeTensors::data_index(Whole& x, Span at) {
  const DType type = el_.arith.type(x.value);
  if (x.value.strength == Strength::literal_real || !is_integer(type)) {
    el_.diagnostics.report<Code::subscript_type>(at, quern::name(x.value.strength == Strength::literal_real ? DType::f32 : type))
        .label("selects elements")
        .fix("cast it: i64(...); a mask selects with where(mask, x, 0)");
    return {};
  }
  // Positions that argsort gives are in range as soon as they have a name: that is where the proofs keep the fact.
  const ir::Node& n = pool_[x.value.expr];
  if (n.op == Op::map && n.payload == static_cast<std::int64_t>(ir::AxisMap::argsort)) {
    std::string name;
    const Meaning positions = materialised(x, at, name);
    std::vector<Expr> subscripts;
    for (const WholeAxis& axis : x.axes) subscripts.push_back(position(axis));
    x.value = el_.read(positions, std::move(subscripts), {name, at, {}});
    if (!x) return {};
  }
  return pool_.cast(x.value.expr, DType::i64);
}

Whole WholeTensors::subscript(const ast::Subscript& s, Span at, Guarded guard, Policy policy, Typed fill) {
  Whole x = expression(*s.base);
  if (!x) return none(at);

  std::size_t taken = 0, ellipses = 0;
  for (const ast::SubscriptItem& item : s.items) {
    if (std::holds_alternative<ast::Ellipsis>(item.value)) ++ellipses;
    else if (!std::holds_alternative<ast::NewAxis>(item.value)) ++taken;
    if (std::holds_alternative<ast::Pair>(item.value)) {
      el_.diagnostics.report<Code::pair_of_whole>(item.span).label("names indices").fix("write the statement in index form: y[i,j] = ...");
      return none(at);
    }
  }
  if (ellipses > 1) {
    el_.diagnostics.report<Code::ellipsis_twice>(at).fix("write ':' for one of them");
    return none(at);
  }
  if (taken > x.rank()) {
    el_.diagnostics.report<Code::too_many_subscripts>(at, taken, x.rank()).label(fmt::format("shape {}", shape_text(x.axes)));
    return none(at);
  }

  Values values;                    // of the indices of x
  std::vector<WholeAxis> axes;      // of the result
  std::vector<Expr> subscripts;     // one for each axis of x
  std::vector<Span> places;
  std::vector<Whole> data;          // tensors as subscripts
  std::vector<std::size_t> data_axes;
  std::size_t data_at = 0;          // where their axes go
  bool adjacent = true, gap = false;
  const auto keep = [&](const WholeAxis& axis, Span place) {
    axes.push_back(axis);
    subscripts.push_back(position(axis));
    places.push_back(place);
  };
  const auto keep_rest = [&](std::size_t count, Span place) {
    for (std::size_t i = 0; i < count; ++i) keep(x.axes[subscripts.size()], place);
  };
  for (const ast::SubscriptItem& item : s.items) {
    if (std::holds_alternative<ast::NewAxis>(item.value)) {
      axes.push_back(stretched_axis());
      gap = !data.empty();
      continue;
    }
    if (std::holds_alternative<ast::Ellipsis>(item.value)) {
      gap = !data.empty() && x.rank() > taken;
      keep_rest(x.rank() - taken, item.span);
      continue;
    }
    const WholeAxis& own = x.axes[subscripts.size()];
    if (const auto* slice = std::get_if<ast::Slice>(&item.value)) {
      gap = !data.empty();
      if (!slice->begin && !slice->end && !slice->step) {
        keep(own, item.span);
        continue;
      }
      const Cut part = cut(*slice, own.extent, item.span);
      if (!part.ok) return none(at);
      const WholeAxis shorter = axis(part.extent);
      const Expr moved = pool_.mul(position(shorter), pool_.integer(part.step < 0 ? -part.step : part.step));
      const Expr offset = part.step < 0 ? pool_.sub(part.start, moved) : pool_.add(moved, part.start);
      if (!own.stretches()) values[own.index] = offset;
      axes.push_back(shorter);
      subscripts.push_back(offset);
      places.push_back(item.span);
      continue;
    }
    const ast::Expr& written = *std::get<ast::ExprPtr>(item.value);
    Whole index = expression(written);
    if (!index) return none(at);
    const Expr value = data_index(index, item.span);
    if (!value) return none(at);
    if (is_static(index) && policy == Policy::proof) {
      const Expr entry = from_end(written, value, own.extent);
      const Expr last = pool_.sub(own.extent, pool_.integer(1));
      if (!require_at_most(pool_.integer(0), entry, item.span) || !require_at_most(entry, last, item.span)) return none(at);
      if (!own.stretches()) values[own.index] = entry;
      subscripts.push_back(entry);
    } else {
      if (data.empty()) data_at = axes.size();
      else if (gap) adjacent = false;
      index.value = Typed{value, Strength::strong, item.span, {}};
      data_axes.push_back(subscripts.size());
      data.push_back(std::move(index));
      subscripts.push_back({});
    }
    places.push_back(item.span);
  }
  keep_rest(x.rank() - subscripts.size(), at);
  if (data.empty()) return at_values(std::move(x), std::move(axes), values, at);

  // All tensors among the subscripts broadcast together; their axes go where they stand, or first when they stand apart.
  std::vector<WholeAxis> common;
  if (!broadcast(data, common, at)) return none(at);
  for (std::size_t i = 0; i < data.size(); ++i) subscripts[data_axes[i]] = data[i].value.expr;
  axes.insert(axes.begin() + static_cast<std::ptrdiff_t>(adjacent ? data_at : 0), common.begin(), common.end());
  return gathered(*s.base, std::move(x), std::move(subscripts), std::move(axes), at, guard, policy, fill, std::move(places));
}

Whole WholeTensors::gathered(const ast::Expr& base, Whole x, std::vector<Expr> subscripts, std::vector<WholeAxis> axes, Span at,
                             Guarded guarded, Policy policy, Typed fill, std::vector<Span> items) {
  Whole result{std::move(axes), {}, at};
  std::optional<Elaborator::Guard> guard;
  if (guarded.condition != nullptr && *guarded.condition && el_.arith.type(guarded.condition->value) == DType::boolean) {
    // The axes of condition and branch will be one, right-aligned: the condition is read at those of the branch.
    const Whole& condition = *guarded.condition;
    Values values;
    for (std::size_t i = 0; i < std::min(condition.rank(), result.rank()); ++i) {
      const WholeAxis& from = condition.axes[condition.rank() - 1 - i];
      const WholeAxis& to = result.axes[result.rank() - 1 - i];
      if (!from.stretches() && !to.stretches() && el_.sizes.equal(from.extent, to.extent)) values[from.index] = pool_.index(to.index);
    }
    guard.emplace(el_, pool_.substitute(condition.value.expr, values), guarded.truth);
  }
  const auto* use = std::get_if<ast::NameUse>(&base.node);
  const bool argument = use != nullptr && !frames_.empty() && frames_.back().contains(use->name);
  const Entry* entry = use != nullptr && !argument ? el_.find(use->name) : nullptr;
  std::string name = use != nullptr ? use->name : std::string();
  const Meaning tensor = entry != nullptr ? entry->meaning : materialised(x, at, name);
  result.value = el_.read(tensor, std::move(subscripts), {name, at, std::move(items)}, policy, fill);
  return result;
}

}  // namespace quern::dsl
