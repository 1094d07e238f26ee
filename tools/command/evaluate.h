// The value of a scalar expression at one point: sizes and symbols given, indices at chosen places, tensors where they
// are at hand. For shapes, facts and domains; bodies of equations are the interpreter's business.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dsl/ir/program.h"
#include "tools/npy/npy.h"

namespace quern::command {

struct Bindings {
  std::vector<std::optional<std::int64_t>> symbols;  // by SymbolId
  std::vector<std::optional<double>> scalars;        // by ScalarId
  std::vector<const npy::Array*> tensors;            // by TensorId, null where not at hand
  std::vector<std::int64_t> indices;                 // by IndexId

  explicit Bindings(const ir::Program& program);
};

/// Nothing when a symbol, scalar or tensor is missing, or the expression holds a reduction, a map or a scan.
std::optional<std::int64_t> evaluate_integer(const ir::Program& program, ir::Expr e, const Bindings& at);
std::optional<double> evaluate_real(const ir::Program& program, ir::Expr e, const Bindings& at);

}  // namespace quern::command
