// Names and rows of the operator table, and the meaning of each operator on constants.
#pragma once

#include <optional>
#include <span>

#include "dsl/ir/expr.h"

namespace quern::ir {

/// Value of an elementwise integer or bool operator (floor div and mod, 0 for a zero divisor; wraps to `type`).
std::optional<std::int64_t> fold_integer(Op op, std::span<const std::int64_t> args, DType type);

std::optional<Op> operator_from_name(std::string_view text);
std::optional<Reducer> reducer_from_name(std::string_view text);
std::optional<AxisMap> axis_map_from_name(std::string_view text);

}  // namespace quern::ir
