// The contracts of all algebraic passes on the index IR. A pass is one free function in the file of its name; it takes a
// program, changes it in place, and returns whether it changed anything. Every pass keeps the program well formed
// (verify_program) and its meaning within the rounding that the language allows. The order, with reasons: pipeline.cpp.
//
// The flat form (after `flatten` and `expand_composites`): each equation's body is one of
//   pointwise                no reduce, map, scan or topk in it
//   reduce                   sum prod max min any all argmax argmin; body and domain pointwise
//   scan                     body (with `previous`) and start pointwise
//   topk                     two targets: values, positions
//   sort or argsort          of a pointwise body
#pragma once

#include "dsl/ir/program.h"

namespace quern::compiler {

/// Symbols with a value become constants, everywhere; conditions on them fold.
/// Sizes that a requirement makes equal become one symbol, the first of them, except in the signature (parameters, outputs)
/// and in the requirements, where callers and messages know them by their own names.
/// ensures: no symbol with a value is left in an expression.  example: D = 64:  y[i] / sqrt(D)  ->  y[i] / 8.0
/// example: require M == N:  sum[n in 0:N](x[n])  ->  sum[n in 0:M](x[n])
bool bind_sizes(ir::Program& program);

/// Applies the rules of simplify.cpp (sound for every value, NaN, infinities and -0 included) until none fits.
/// example: x[i - 3 + 3] -> x[i];  where(n < N, a, b) with n in 0:N -> a
bool simplify(ir::Program& program);

/// Names every binding form below the root of a body.
/// ensures: the flat form, composites allowed at the root; a form behind a guard reads nothing where the guard fails.
/// example: y[i] = sum[n](softmax[n](s[i,n]) * v[n])  ->  y_softmax[i,n] = softmax[n](s[i,n]); y[i] = sum[n](y_softmax[i,n] * v[n])
bool flatten(ir::Program& program);

/// requires: flatten.  ensures: the flat form without composites.
/// example: y[i] = mean[n](x[i,n])  ->  y_sum[i] = sum[n](x[i,n]); y[i] = y_sum[i] / max(N, 1)
bool expand_composites(ir::Program& program);

/// Guards that turn a term into the neutral element become the domain of the reduction.
/// example: sum[n](where(n <= m, x[n], 0)) -> sum[n where n <= m](x[n])
bool guards_to_domains(ir::Program& program);

/// requires: the flat form.  A sum over a sum of weights, each with an invariant divisor of its own, becomes one sum per
/// weight. Not under @precise: where a value is infinite the parts cancel to NaN.
/// example: sum[n]((a[m,n] / l[m] - b[m,n] / k[m]) * v[n])  ->  sum[n](a[m,n] / l[m] * v[n]) - sum[n](b[m,n] / k[m] * v[n])
bool distribute_sums(ir::Program& program);

/// requires: the flat form.  Points at which an exponent is -inf by a condition on indices leave the domain of their sum; a
/// row of nothing but -inf keeps its NaN.
/// example: sum[n](exp(where(n <= m, s[m,n], -inf) - x[m]))
///          -> sum[n where n <= m](exp(s[m,n] - x[m])) + where(m + 1 < N, exp(-inf - x[m]), 0)
bool skip_dead_exponents(ir::Program& program);

/// requires: the flat form.  Factors that do not depend on the summed axes leave sums, terms and positive factors leave
/// maxima and minima. A factor that can be infinite or NaN, or whose reads the domain guards, leaves a sum over a
/// possibly empty domain only behind a test that it is not empty.
/// example: o[m] = sum[n](p[m,n] / l[m] * v[n])  ->  o_sum[m] = sum[n](p[m,n] * v[n]); o[m] = where(N > 0, o_sum[m] / l[m], 0)
bool hoist_invariants(ir::Program& program);

/// Temps with equal definitions, up to the names of their indices, become one; what nothing reads disappears.
bool merge_equal(ir::Program& program);

/// requires: the flat form.  A temp with a pointwise body is substituted into its readers, except where that would
/// compute something expensive again and again (see inline_pointwise.cpp for the rule). Outputs stay.
bool inline_pointwise(ir::Program& program);

/// requires: the flat form.  A temp that is read at constant positions of an axis only becomes one temp per position.
/// example: p[i,n] = ...; y = sum[n](p[0,n] - p[1,n])  ->  p_0[n] = ...; p_1[n] = ...; y = sum[n](p_0[n] - p_1[n])
bool split_slices(ir::Program& program);

/// requires: the flat form.  Elements of a reduction that data picks, far fewer than it has, get a reduction of their own.
/// example: z[t,v] = sum[d](x[t,d] * w[v,d]); y[t] = z[t, label[t]]  ->  z_at[t] = sum[d](x[t,d] * w[label[t],d]); y[t] = z_at[t]
bool recompute_gathers(ir::Program& program);

/// requires: the flat form.  A sum of a product of several factors becomes a sequence of pairwise contractions where that
/// needs fewer operations; a factor that alone knows an axis is summed over it first.
/// example: sum[i,j](x[i] * A[i,j] * y[j])  ->  t[i] = sum[j](A[i,j] * y[j]); sum[i](x[i] * t[i])
bool plan_contractions(ir::Program& program);

}  // namespace quern::compiler
