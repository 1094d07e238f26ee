// The rules of `simplify`, as a table that tests can go through one by one.
// In: a node whose operands are simplified already. Out: something equal for every value, or none.
#pragma once

#include <span>
#include <string_view>

#include "compiler/passes/ranges.h"
#include "dsl/ir/program.h"

namespace quern::compiler {

struct RuleScope {
  ir::Program& program;
  const Ranges& ranges;
  std::span<const ir::Expr> facts;  // conditions that hold where the node is evaluated
};

struct SimplifyRule {
  std::string_view name;
  ir::Expr (*apply)(const RuleScope&, ir::Expr);
};

/// Integers, indices, comparisons and conditions.
std::span<const SimplifyRule> index_rules();
/// Floats and conversions: exact in IEEE arithmetic, NaN, infinities and signed zeros included.
std::span<const SimplifyRule> float_rules();

/// One expression, everywhere below too.
ir::Expr simplified(ir::Program& program, const Ranges& ranges, ir::Expr e);

}  // namespace quern::compiler
