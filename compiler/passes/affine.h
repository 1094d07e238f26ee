// Integer conditions over boxes of indices: what a predicate says about a tile before any element is looked at.
// A condition such as n <= m + N - M, with n and m in known ranges, gives bounds for n and a test "holds everywhere".
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// sum of coefficient * index + rest, where `rest` contains none of the indices asked about.
struct Affine {
  std::map<ir::IndexId, std::int64_t> terms;
  ir::Expr rest;  // i64
};

/// `e` as an affine form of `over`; nothing if it is not one (div, products of two indices, data read at such an index).
std::optional<Affine> affine(ir::ExprPool& pool, ir::Expr e, const std::vector<ir::IndexId>& over);

/// Inclusive range of an index inside a tile, as expressions free of the indices asked about.
struct Interval {
  ir::Expr first, last;
};
using Box = std::map<ir::IndexId, Interval>;

/// A condition that is true only if `condition` holds at every point of the box; nothing where it cannot be told.
std::optional<ir::Expr> holds_everywhere(ir::ExprPool& pool, ir::Expr condition, const Box& box);

/// Bounds that `condition` puts on `index` when the other indices range over the box: points outside
/// [first, last] fail for every choice of the others. Unset where there is none.
struct Bounds {
  std::vector<ir::Expr> at_least, at_most;
};
Bounds bounds_of(ir::ExprPool& pool, ir::Expr condition, ir::IndexId index, const Box& others);

}  // namespace quern::compiler
