// Whole tensors put together and taken apart: lists, concat, stack, take, gather, transpose, squeeze, ...
// The one idea: concatenation is a choice by position, guarded so that no part is read outside itself.
#include <algorithm>

#include "dsl/check/whole_tensor_call.h"

namespace quern::dsl {

using ir::Expr;
using ir::Op;

Typed WholeTensors::chosen(const std::vector<Typed>& parts, const std::vector<Expr>& ends, std::size_t first, std::size_t last,
                           Expr position, Span at) {
  if (last - first == 1) return parts[first];
  const std::size_t middle = first + (last - first) / 2;
  const Typed low = chosen(parts, ends, first, middle, position, at);
  const Typed high = chosen(parts, ends, middle, last, position, at);
  return el_.choose(pool_.less(position, ends[middle - 1]), low, high, at);
}

Whole WholeTensors::list(const ast::List& list, Span at) {
  if (list.tuple) {
    el_.diagnostics.report<Code::tuple_as_value>(at).fix("write [a, b] for a list");
    return none(at);
  }
  std::vector<Whole> parts;
  for (const ast::ExprPtr& element : list.elements) parts.push_back(expression(*element));
  return stacked(std::move(parts), 0, at);
}

/// A literal 1 beside another size would have to stretch, which parts of one tensor do not do.
bool WholeTensors::unstretched(const std::vector<Whole>& parts, const std::vector<WholeAxis>& axes) {
  for (const Whole& x : parts) {
    for (std::size_t i = 0; i < x.rank(); ++i) {
      if (x.axes[i].stretches() == axes[i].stretches()) continue;
      if (std::int64_t size = 0; pool_.is_integer_constant(axes[i].extent, &size) && size == 1) continue;
      el_.diagnostics.report<Code::broadcast_clash>(x.span, "1", el_.sizes.text(axes[i].extent)).label(fmt::format("axis {} has size 1", i));
      return false;
    }
  }
  return true;
}

/// Equal shapes side by side along a new axis.
Whole WholeTensors::stacked(std::vector<Whole> parts, std::size_t at_axis, Span at) {
  for (const Whole& x : parts) {
    if (!x) return none(at);
    if (x.rank() == parts.front().rank()) continue;
    el_.diagnostics.report<Code::ranks_differ>(x.span, parts.front().rank(), x.rank()).label(fmt::format("shape {}", shape_text(x.axes)));
    return none(at);
  }
  Whole result = none(at);
  if (!broadcast(parts, result.axes, at) || !unstretched(parts, result.axes)) return none(at);
  const WholeAxis along = axis(pool_.integer(static_cast<std::int64_t>(parts.size())));
  std::vector<Typed> values;
  std::vector<Expr> ends;
  for (const Whole& x : parts) {
    values.push_back(x.value);
    ends.push_back(pool_.integer(static_cast<std::int64_t>(ends.size() + 1)));
  }
  result.value = chosen(values, ends, 0, values.size(), position(along), at);
  result.axes.insert(result.axes.begin() + static_cast<std::ptrdiff_t>(at_axis), along);
  return result;
}

std::vector<const ast::Expr*> WholeTensors::listed(const Arguments& a) {
  const ast::Expr& written = *a.values[0];
  if (std::holds_alternative<ast::List>(written.node)) return elements(written);
  el_.diagnostics.report<Code::list_needed>(written.span, a.callee).fix(fmt::format("write {}([x, y], axis=0)", a.callee));
  return {};
}

Whole WholeTensors::stack(const Arguments& a, Span at) {
  std::vector<Whole> parts;
  for (const ast::Expr* element : listed(a)) parts.push_back(expression(*element));
  if (parts.empty() || !parts.front()) return none(at);
  std::optional<std::size_t> along = 0;
  if (a.values[1] != nullptr) along = axis_of(*a.values[1], parts.front().rank() + 1, a.callee);
  return along ? stacked(std::move(parts), *along, at) : none(at);
}

Whole WholeTensors::concat(const Arguments& a, Span at) {
  std::vector<Whole> parts;
  for (const ast::Expr* element : listed(a)) {
    parts.push_back(expression(*element));
    const Whole& x = parts.back();
    if (!x || !needs_rank(x, 1, fmt::format("a part of '{}'", a.callee), element->span)) return none(at);
    if (x.rank() == parts.front().rank()) continue;
    el_.diagnostics.report<Code::ranks_differ>(element->span, parts.front().rank(), x.rank()).label(fmt::format("shape {}", shape_text(x.axes)));
    return none(at);
  }
  if (parts.empty()) return none(at);
  const std::size_t rank = parts.front().rank();
  std::optional<std::size_t> along = 0;
  if (a.values[1] != nullptr) along = axis_of(*a.values[1], rank, a.callee);
  if (!along) return none(at);

  Expr total = pool_.integer(0);
  std::vector<Expr> ends;
  std::vector<WholeAxis> own;
  for (Whole& x : parts) {
    own.push_back(x.axes[*along]);
    total = el_.sizes.expression(el_.sizes.normal(pool_.add(total, own.back().extent)));
    ends.push_back(total);
  }
  const WholeAxis joined = axis(total);
  // The other axes broadcast; the joined one stands aside meanwhile.
  Expr begin = pool_.integer(0);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    std::vector<WholeAxis> axes = parts[p].axes;
    axes[*along] = stretched_axis();
    Values values;
    if (!own[p].stretches()) values[own[p].index] = el_.sizes.expression(el_.sizes.normal(pool_.sub(position(joined), begin)));
    const Expr here = position(joined);
    const Elaborator::Guard guard(el_, pool_.both(pool_.apply(Op::le, {begin, here}), pool_.less(here, ends[p])));
    parts[p] = at_values(std::move(parts[p]), std::move(axes), values, at);
    begin = ends[p];
  }
  Whole result = none(at);
  if (!broadcast(parts, result.axes, at) || !unstretched(parts, result.axes)) return none(at);
  std::vector<Typed> values;
  for (const Whole& x : parts) values.push_back(x.value);
  result.value = chosen(values, ends, 0, values.size(), position(joined), at);
  result.axes[*along] = joined;
  return result;
}

Whole WholeTensors::take(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  Whole ids = expression(*a.values[1]);
  if (!x || !ids || !needs_rank(x, 1, "'take'", a.values[0]->span)) return none(at);
  std::optional<std::size_t> along;
  if (a.values[2] != nullptr) {
    along = axis_of(*a.values[2], x.rank(), a.callee);
    if (!along) return none(at);
  } else if (x.rank() == 1) {
    along = 0;
  } else {
    el_.diagnostics.report<Code::reduction_axis>(at, a.callee).label(fmt::format("shape {}", shape_text(x.axes))).fix("name it: take(x, ids, axis=0)");
    return none(at);
  }
  const Expr id = data_index(ids, a.values[1]->span);
  if (!id) return none(at);
  std::vector<Expr> subscripts;
  std::vector<WholeAxis> axes;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    subscripts.push_back(i == *along ? id : position(x.axes[i]));
    if (i == *along) axes.insert(axes.end(), ids.axes.begin(), ids.axes.end());
    else axes.push_back(x.axes[i]);
  }
  return gathered(*a.values[0], std::move(x), std::move(subscripts), std::move(axes), at, {}, Policy::proof, {}, {});
}

Whole WholeTensors::along_axis(const ast::Expr& base, const ast::Expr& written, const ast::Expr* axis, Span at) {
  Whole x = expression(base);
  Whole ids = expression(written);
  if (!x || !ids || !needs_rank(x, 1, "a gather", base.span)) return none(at);
  std::optional<std::size_t> along = x.rank() - 1;
  if (axis != nullptr) along = axis_of(*axis, x.rank(), "gather");
  if (!along) return none(at);
  if (ids.rank() != x.rank()) {
    el_.diagnostics.report<Code::ranks_differ>(written.span, x.rank(), ids.rank()).label(fmt::format("shape {}", shape_text(ids.axes)));
    return none(at);
  }
  ids.value = Typed{data_index(ids, written.span), Strength::strong, written.span, {}};
  if (!ids) return none(at);
  std::vector<Expr> subscripts;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    if (i != *along && !same_size(x.axes[i], ids.axes[i], x, ids, x.rank() - 1 - i, at)) return none(at);
    subscripts.push_back(i == *along ? ids.value.expr : position(ids.axes[i]));
  }
  std::vector<WholeAxis> axes = ids.axes;
  return gathered(base, std::move(x), std::move(subscripts), std::move(axes), at, {}, Policy::proof, {}, {});
}

Whole WholeTensors::take_along_axis(const Arguments& a, Span at) { return along_axis(*a.values[0], *a.values[1], a.values[2], at); }
Whole WholeTensors::gather(const Arguments& a, Span at) { return along_axis(*a.values[0], *a.values[2], a.values[1], at); }

Whole WholeTensors::permute(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x) return x;
  bool ok = true;
  const std::vector<std::size_t> order = axes_of(*a.values[1], x.rank(), a.callee, ok);
  if (!ok) return none(at);
  if (order.size() != x.rank()) {
    el_.diagnostics.report<Code::ranks_differ>(a.values[1]->span, x.rank(), order.size()).fix("name every axis once");
    return none(at);
  }
  std::vector<WholeAxis> axes;
  for (std::size_t i : order) axes.push_back(x.axes[i]);
  x.axes = std::move(axes);
  return x;
}

Whole WholeTensors::swapaxes(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x) return x;
  const auto first = axis_of(*a.values[1], x.rank(), a.callee), second = axis_of(*a.values[2], x.rank(), a.callee);
  if (!first || !second) return none(at);
  std::swap(x.axes[*first], x.axes[*second]);
  return x;
}

/// NumPy's transpose(x, axes) and PyTorch's transpose(x, dim0, dim1).
Whole WholeTensors::transpose(const Arguments& a, Span at) {
  if (a.values[2] != nullptr && a.values[1] != nullptr) return swapaxes(a, at);
  if (a.values[1] != nullptr) return permute(a, at);
  Whole x = expression(*a.values[0]);
  std::reverse(x.axes.begin(), x.axes.end());
  return x;
}

Whole WholeTensors::expand_dims(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x) return x;
  const auto place = axis_of(*a.values[1], x.rank() + 1, a.callee);
  if (!place) return none(at);
  x.axes.insert(x.axes.begin() + static_cast<std::ptrdiff_t>(*place), stretched_axis());
  return x;
}

Whole WholeTensors::squeeze(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x) return x;
  const auto place = axis_of(*a.values[1], x.rank(), a.callee);
  if (!place) return none(at);
  if (!x.axes[*place].stretches()) {
    el_.diagnostics.report<Code::squeeze_size>(at, *place, el_.sizes.text(x.axes[*place].extent)).fix("only an axis of literal size 1 can go; x[..., 0] takes an entry");
    return none(at);
  }
  x.axes.erase(x.axes.begin() + static_cast<std::ptrdiff_t>(*place));
  return x;
}

Whole WholeTensors::flip(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x) return x;
  bool ok = true;
  Values values;
  std::vector<WholeAxis> axes = x.axes;
  for (std::size_t i : axes_of(*a.values[1], x.rank(), a.callee, ok)) {
    if (x.axes[i].stretches()) continue;
    axes[i] = axis(x.axes[i].extent);
    values[x.axes[i].index] = pool_.sub(pool_.sub(x.axes[i].extent, pool_.integer(1)), position(axes[i]));
  }
  return ok ? at_values(std::move(x), std::move(axes), values, at) : none(at);
}

Whole WholeTensors::matmul_call(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  return matmul(std::move(x), expression(*a.values[1]), at);
}

}  // namespace quern::dsl
