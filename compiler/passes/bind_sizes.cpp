// bind_sizes: compile-time sizes and flags that have a value become constants.
// Goes in: a checked program. Comes out: the same program with those symbols gone from every expression; requirements
// that became true are dropped. The idea: constants fold as the expressions are rebuilt.
#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

bool bind_sizes(Program& program) {
  ExprPool& pool = program.pool;
  bool changed = false;
  auto bind = [&](Expr& e) {
    if (!e) return;
    const Expr bound = pool.rewrite(e, [&](Expr at) -> Expr {
      const Node& n = pool[at];
      if (n.op != Op::symbol) return {};
      const Symbol& symbol = program.symbols[static_cast<SymbolId>(n.payload)];
      if (!symbol.value) return {};
      return pool.integer(*symbol.value, symbol.type);
    });
    changed |= bound != e;
    e = bound;
  };
  for (Index& index : program.indices) bind(index.begin), bind(index.end);
  for (Scalar& scalar : program.scalars) bind(scalar.default_value);
  for (Tensor& tensor : program.tensors) {
    for (Expr& size : tensor.shape) bind(size);
    bind(tensor.fact_begin);
    bind(tensor.fact_end);
  }
  for (Equation& equation : program.equations) {
    for (Expr& s : equation.subscripts) bind(s);
    bind(equation.body);
  }
  std::vector<Requirement> left;
  for (Requirement& requirement : program.requirements) {
    bind(requirement.condition);
    if (!pool.is_true(requirement.condition)) left.push_back(requirement);
  }
  program.requirements = std::move(left);
  return changed;
}

}  // namespace quern::compiler
