// What one step of a scan does, where steps combine in any order.
#pragma once

#include <optional>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// prev becomes `op`(prev, term), or factor * prev + term where there is a factor (op is `add` then; no term: 0).
/// Two steps are one again: (a, x) and then (b, y) is (a b, b x + y).
struct Recurrence {
  ir::Op op = ir::Op::add;  // add, max, min
  ir::Expr factor, term;
  DType type = DType::f32;
};

/// Of the body of a scan; nothing where its steps only run one by one. Forms that would round at other places than the
/// language allows, (prev + x) * a for one, are among those.
std::optional<Recurrence> recurrence_of(ir::ExprPool& pool, ir::Expr body);

/// Bytes that a step keeps: its factor and its term.
std::size_t step_bytes(const Recurrence& recurrence);

}  // namespace quern::compiler
