// The algebra of streaming: how the reduction of F(x, y) over an axis goes on when y, itself a reduction over that axis
// that is still running, takes a new value. In: F and the reads of y in it. Out: what a point adds, how what has been
// added so far is corrected, and the derivation in words. Nothing here knows the name of any algorithm.
//
//   multiplicative   F(x, y) = g(x) * h(y), found through products, quotients and exp of sums:  A <- A * h(new) / h(old)
//   additive         F(x, y) = g(x) + h(y) under max and min:                                  A <- A + h(new) - h(old)
//   polynomial       the derivatives of F in u(y) end: running sums of the derivatives at a movable centre (Taylor)
//   both             a polynomial in u(y) whose coefficients share one factor h(y)
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// A running value that F reads. `now` is the read as it stands in F and means the newest value; `before` is the
/// caller's expression for the value with which the running sums were made.
struct Streamed {
  ir::Expr now;
  ir::Expr before;
};

/// Running sum k *before* a correction is written accumulator(type, k) in the results below.
struct Shift {
  std::vector<ir::Expr> bodies;  // what one point adds to running sum k, over `now`; bodies[0] is F itself, made safe
                                 // (below) and with a centre in place of u. Same reducer, axes and domain for all.
  ir::Expr factor;  // under sum: all running sums are multiplied by it when y changes; none: they stay. Finite or NaN,
                    // so that an accumulator still at 0 stays 0.
  ir::Expr term;    // under max and min: is added to the running value when y changes; none: it stays

  // Polynomial only (`centres` not empty; one per quantity u that F is a polynomial in, u a function of y such as a mean).
  // Step for a group of points: (1) old running sums plus the group's bodies, at the old centres, give `recentre`;
  // (2) the old running sums are moved to those centres; (3) the group's bodies at the new centres are added. At the end
  // the sums are moved to `final_centres`, and accumulator(0) is the value. Centres start at 0.
  std::vector<ir::Expr> centres, centres_next;  // stand-ins in bodies, moved and recentre
  std::vector<ir::Expr> recentre;               // over accumulator(k) and centres: for variances, the running mean;
                                                // empty: the centres stay where they start
  std::vector<ir::Expr> final_centres;          // u over `now`
  std::vector<ir::Expr> moved;                  // running sum k at centres_next, over accumulator(k), centres, centres_next

  // Multiplicative, when y can still be at the start of its max or min (-inf or inf): bodies and factor then use a finite
  // stand-in for it, so rows that have seen nothing but -inf hold 0 where the written form has NaN. If such a row must
  // show NaN, `finish` (over accumulator(0) and `now`) gives the exact value for a row with at least one point.
  ir::Expr finish;                   // none: accumulator(0) is the value

  std::vector<std::string> derivation;  // lines for `explain`
};

/// How `reducer` (sum, max, min; any, all, prod only when F does not depend on y) over `axes` of F streams while the
/// values of `y` change. None: it does not split. F is pointwise; the reads in `y` do not depend on `axes`.
std::optional<Shift> split(ir::Program& program, ir::Expr F, std::span<const ir::IndexId> axes, std::span<const Streamed> y,
                           ir::Reducer reducer);

/// dF/dy for F built of + - * / neg, powers with whole exponents, and anything that does not contain y; none otherwise.
std::optional<ir::Expr> derivative(ir::Program& program, ir::Expr F, ir::Expr y);

}  // namespace quern::compiler
