// Walking and building index IR: what every pass needs to ask about an expression, and fresh names and binders.
// Goes in: a program and its expressions. Comes out: answers, or expressions that capture nothing.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::compiler {

using Renaming = std::unordered_map<ir::IndexId, ir::Expr>;

/// reduce, map, scan, topk_value, topk_position: the forms that bind an axis.
bool binds_axes(ir::Op op);
/// No binding form anywhere in `e`.
bool is_pointwise(const ir::ExprPool& pool, ir::Expr e);
/// Calls `see` once for each distinct node of `e`, operands first.
void for_each_node(const ir::ExprPool& pool, ir::Expr e, const std::function<void(ir::Expr)>& see);
/// Number of distinct nodes.
std::size_t node_count(const ir::ExprPool& pool, ir::Expr e);

/// Number of nodes of `e` written out as a tree: walks that follow both operands of x * x stop at kLargestTree.
double tree_size(const ir::ExprPool& pool, ir::Expr e);
inline constexpr double kLargestTree = 4000;

bool is_reduce(const ir::ExprPool& pool, ir::Expr e, ir::Reducer reducer);
bool is_composite(ir::Reducer reducer);
/// The value of a reduction over nothing, for primitive reducers.
ir::Expr identity_of(ir::ExprPool& pool, ir::Reducer reducer, DType type);
ir::Expr zero(ir::ExprPool& pool, DType type);
ir::Expr number(ir::ExprPool& pool, double value, ir::Expr like);

/// The parts of a conjunction, left to right; empty for `true`.
std::vector<ir::Expr> conjuncts(const ir::ExprPool& pool, ir::Expr condition);
ir::Expr conjunction(ir::ExprPool& pool, std::span<const ir::Expr> parts);
/// `a and b` without repeating a part of `a`.
ir::Expr both(ir::ExprPool& pool, ir::Expr a, ir::Expr b);
/// `not condition`; comparisons of integers turn round.
ir::Expr negation(ir::ExprPool& pool, ir::Expr condition);

/// A new binder over the same range.
ir::IndexId fresh_index(ir::Program& program, ir::IndexId like);
/// `e` with every binder inside renamed, and free indices replaced by `values`.
ir::Expr fresh_copy(ir::Program& program, ir::Expr e, Renaming values = {});
/// end - begin.
ir::Expr extent(ir::Program& program, ir::IndexId index);
/// Number of points of a box of axes.
ir::Expr points(ir::Program& program, std::span<const ir::IndexId> axes);

/// A temp for one value per point of `free`: its equation's indices are new binders over the same ranges.
struct Temp {
  ir::TensorId tensor = 0;
  std::vector<ir::IndexId> indices;  // new binders, in the order of `free`
  Renaming renaming;                 // free -> indices
  ir::Expr read;                     // the value at the point `free`
  ir::Equation equation;             // all but the body
};
/// The free indices of `e`: those of `first` in that order, then the others as they were made.
std::vector<ir::IndexId> free_in_order(const ir::ExprPool& pool, ir::Expr e, std::span<const ir::IndexId> first);
Temp add_temp(ir::Program& program, const std::string& base, DType type, std::span<const ir::IndexId> free);
/// `base`, or base_1, base_2 ...: no tensor, scalar or symbol has it.
std::string fresh_name(const ir::Program& program, const std::string& base);

}  // namespace quern::compiler
