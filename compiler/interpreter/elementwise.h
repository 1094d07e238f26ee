// The meaning of elementwise operators on values with bounds.
#pragma once

#include "compiler/interpreter/value.h"
#include "dsl/ir/expr.h"

namespace quern::interpreter {

/// A row of error_rules.def.
struct ErrorRule {
  double ulps, argument, floor;
};
const ErrorRule& error_rule(ir::Op op);

/// A float operator on floats (not a comparison or test). `nonnegative`: the first operand cannot be below zero in any
/// implementation (a sum of squares, an exp), so its bound is cut there.
template <class R>
Value<R> apply_float(ir::Op op, const Precision& p, bool nonnegative, const Value<R>& a, const Value<R>& b,
                     const Value<R>& c);

/// A quotient by b that may be a product with its reciprocal instead: one more rounding, none where b is a power of two.
template <class R>
Value<R> by_reciprocal(const Precision& p, const Value<R>& b, const Value<R>& quotient);

/// exp(x + y) or exp(x - y): a back end may compute the two exponents apart, with the rounding of each.
template <class R>
Value<R> exp_of_sum(ir::Op op, const Precision& p, const Value<R>& x, const Value<R>& y);

/// A comparison or test of floats: bool, e = 1 where the bounds leave it open.
template <class R>
Value<R> compare_float(ir::Op op, const Precision& p, const Value<R>& a, const Value<R>& b);

/// The operator without bounds.
template <class R>
R plain(ir::Op op, R a, R b, R c);

/// Rounding to `to` that must happen (a written cast), or may (a contraction factor).
template <class R>
Value<R> rounded(DType to, const Value<R>& a, const Precision& from);
template <class R>
Value<R> maybe_rounded(DType to, const Value<R>& a, const Precision& from);

}  // namespace quern::interpreter
