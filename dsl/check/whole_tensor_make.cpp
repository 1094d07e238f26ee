// Whole tensors made of positions: arange, zeros, one_hot, outer, diagonal, trace, triu, tril, ...
// The one idea: an index is a value, so each of these is an expression over indices and nothing is ever stored.
#include "dsl/check/whole_tensor_call.h"

namespace quern::dsl {

using ir::Expr;
using ir::Op;

Whole WholeTensors::arange(const Arguments& a, Span at) {
  Expr start = pool_.integer(0), stop, step = pool_.integer(1);
  const auto first = el_.size_expression(*a.values[0]);
  if (!first) return none(at);
  if (a.values[1] == nullptr) {
    stop = first;
  } else {
    start = first;
    stop = el_.size_expression(*a.values[1]);
    if (!stop) return none(at);
  }
  std::int64_t stride = 1;
  if (a.values[2] != nullptr) {
    const auto value = constant(*a.values[2], "the step of 'arange'");
    if (!value) return none(at);
    if (*value == 0) {
      el_.diagnostics.report<Code::slice_step>(a.values[2]->span).label("arange moves");
      return none(at);
    }
    stride = *value;
    step = pool_.integer(stride);
  }
  Expr length = el_.sizes.expression(el_.sizes.normal(stride > 0 ? pool_.sub(stop, start) : pool_.sub(start, stop)));
  if (!require_at_most(pool_.integer(0), length, at)) return none(at);
  const std::int64_t size = stride > 0 ? stride : -stride;
  if (size != 1) length = pool_.apply(Op::floordiv, {pool_.add(length, pool_.integer(size - 1)), pool_.integer(size)});
  Whole result{{axis(length)}, {}, at};
  result.value = Typed{pool_.add(pool_.mul(position(result.axes[0]), step), start), Strength::size, at, {}};
  return result;
}

Whole WholeTensors::filled(std::vector<Expr> shape, Typed value, const ast::Expr* type, Span at) {
  Whole result = none(at);
  for (Expr size : shape) result.axes.push_back(axis(size));
  if (type != nullptr) {
    const auto element = type_argument(*type);
    if (!element) return none(at);
    value = Typed{el_.arith.cast(value, *element), Strength::strong, at, {}};
  }
  result.value = value;
  return result;
}

Whole WholeTensors::zeros(const Arguments& a, Span at) {
  const auto shape = shape_argument(*a.values[0]);
  return shape ? filled(*shape, el_.arith.literal(0.0, at), a.values[1], at) : none(at);
}

Whole WholeTensors::ones(const Arguments& a, Span at) {
  const auto shape = shape_argument(*a.values[0]);
  return shape ? filled(*shape, el_.arith.literal(1.0, at), a.values[1], at) : none(at);
}

Whole WholeTensors::full(const Arguments& a, Span at) {
  const auto shape = shape_argument(*a.values[0]);
  const Whole value = expression(*a.values[1]);
  if (!shape || !value) return none(at);
  if (value.rank() != 0) {
    el_.diagnostics.report<Code::rank_needed>(a.values[1]->span, "the value of 'full'", "rank 0", value.rank());
    return none(at);
  }
  return filled(*shape, value.value, a.values[2], at);
}

Whole WholeTensors::eye(const Arguments& a, Span at) {
  const Expr rows = el_.size_expression(*a.values[0]);
  const Expr columns = a.values[1] != nullptr ? el_.size_expression(*a.values[1]) : rows;
  if (!rows || !columns) return none(at);
  Whole result{{axis(rows), axis(columns)}, {}, at};
  const Expr same = pool_.apply(Op::eq, {position(result.axes[0]), position(result.axes[1])});
  result.value = el_.choose(same, el_.arith.literal(1.0, at), el_.arith.literal(0.0, at), at);
  return result;
}

Whole WholeTensors::one_hot(const Arguments& a, Span at) {
  Whole ids = expression(*a.values[0]);
  const Expr classes = el_.size_expression(*a.values[1]);
  if (!ids || !classes) return none(at);
  const Expr id = data_index(ids, a.values[0]->span);
  if (!id) return none(at);
  ids.axes.push_back(axis(classes));
  const Expr same = pool_.apply(Op::eq, {id, position(ids.axes.back())});
  ids.value = el_.choose(same, el_.arith.literal(std::int64_t{1}, at), el_.arith.literal(std::int64_t{0}, at), at);
  return ids;
}

Whole WholeTensors::outer(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  Whole y = expression(*a.values[1]);
  if (!x || !y) return none(at);
  for (const auto& [value, written] : {std::pair{&x, a.values[0]}, std::pair{&y, a.values[1]}}) {
    if (value->rank() == 1) continue;
    el_.diagnostics.report<Code::rank_needed>(written->span, "an operand of 'outer'", "rank 1", value->rank()).label(fmt::format("shape {}", shape_text(value->axes)));
    return none(at);
  }
  x.axes.push_back(y.axes[0]);
  x.value = el_.product(x.value, y.value, at);
  return x;
}

Whole WholeTensors::diagonal(const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x || !needs_rank(x, 2, fmt::format("'{}'", a.callee), a.values[0]->span)) return none(at);
  std::optional<std::size_t> row = 0, column = 1;
  if (a.values.size() > 2 && a.values[2] != nullptr) row = axis_of(*a.values[2], x.rank(), a.callee);
  if (a.values.size() > 3 && a.values[3] != nullptr) column = axis_of(*a.values[3], x.rank(), a.callee);
  if (!row || !column) return none(at);
  if (*row == *column) {
    el_.diagnostics.report<Code::axis_twice>(at, *row).fix("a diagonal runs along two axes");
    return none(at);
  }
  // The offset moves along columns, or along rows when it is negative; it stays inside the matrix.
  Expr down = pool_.integer(0), right = pool_.integer(0);
  if (a.values[1] != nullptr) {
    const Expr offset = el_.size_expression(*a.values[1]);
    if (!offset) return none(at);
    const bool below = is_negative(*a.values[1], offset);
    const Expr distance = below ? el_.sizes.expression(el_.sizes.normal(pool_.sub(pool_.integer(0), offset))) : offset;
    (below ? down : right) = distance;
    const Expr room = x.axes[below ? *row : *column].extent;
    if (!require_at_most(pool_.integer(0), distance, a.values[1]->span) || !require_at_most(distance, room, a.values[1]->span)) return none(at);
  }
  const WholeAxis rows = x.axes[*row], columns = x.axes[*column];
  const Expr height = el_.sizes.expression(el_.sizes.normal(pool_.sub(rows.extent, down)));
  const Expr width = el_.sizes.expression(el_.sizes.normal(pool_.sub(columns.extent, right)));
  const bool square = el_.sizes.equal(rows.extent, columns.extent);
  // Of a square the shorter side is the one that was moved along.
  const bool below = down != pool_.integer(0);
  const Expr shorter = el_.proofs.at_most(height, width) ? height : el_.proofs.at_most(width, height) ? width : pool_.min(height, width);
  const WholeAxis along = axis(square ? (below ? height : width) : shorter);
  Values values;
  if (!rows.stretches()) values[rows.index] = pool_.add(position(along), down);
  if (!columns.stretches()) values[columns.index] = pool_.add(position(along), right);
  std::vector<WholeAxis> axes;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    if (i != *row && i != *column) axes.push_back(x.axes[i]);
  }
  axes.push_back(along);
  return at_values(std::move(x), std::move(axes), values, at);
}

Whole WholeTensors::trace(const Arguments& a, Span at) {
  Whole x = diagonal(a, at);
  if (!x) return x;
  const WholeAxis along = indexed(x.axes.back());
  x.axes.pop_back();
  x.value = el_.reduce(ir::Reducer::sum, {along.index}, x.value, pool_.boolean(true), at);
  return x;
}

Whole WholeTensors::triangle(const Arguments& a, bool upper, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x || !needs_rank(x, 2, fmt::format("'{}'", a.callee), a.values[0]->span)) return none(at);
  Expr offset = pool_.integer(0);
  if (a.values[1] != nullptr) offset = el_.size_expression(*a.values[1]);
  if (!offset) return none(at);
  const Expr row = position(x.axes[x.rank() - 2]), column = position(x.axes[x.rank() - 1]);
  const Expr diagonal = pool_.add(row, offset);
  const Expr kept = upper ? pool_.apply(Op::le, {diagonal, column}) : pool_.apply(Op::le, {column, diagonal});
  x.value = el_.choose(kept, x.value, el_.arith.literal(std::int64_t{0}, at), at);
  return x;
}

Whole WholeTensors::triu(const Arguments& a, Span at) { return triangle(a, true, at); }
Whole WholeTensors::tril(const Arguments& a, Span at) { return triangle(a, false, at); }

}  // namespace quern::dsl
