// bind_sizes: compile-time sizes and flags that have a value become constants, sizes that must be equal one symbol.
// Goes in: a checked program. Comes out: the same program with those symbols gone from every expression; requirements
// that became true are dropped. The idea: constants fold as the expressions are rebuilt.
#include <unordered_map>

#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

bool bind_sizes(Program& program) {
  ExprPool& pool = program.pool;
  bool changed = false;
  std::unordered_map<Expr, Expr> same;  // symbol -> the one that stands for it
  auto symbol_of = [&](Expr e) {
    for (auto it = same.find(e); it != same.end(); it = same.find(e)) e = it->second;
    return e;
  };
  for (const Requirement& requirement : program.requirements)
    for (const Expr part : conjuncts(pool, requirement.condition)) {
      const Node n = pool[part];
      if (n.op != Op::eq || pool[n.args[0]].op != Op::symbol || pool[n.args[1]].op != Op::symbol) continue;
      const Expr a = symbol_of(n.args[0]), b = symbol_of(n.args[1]);
      if (a != b) same[b] = a;
    }
  bool one_symbol = true;
  auto bind = [&](Expr& e) {
    if (!e) return;
    const Expr bound = pool.rewrite(e, [&](Expr at) -> Expr {
      if (pool[at].op != Op::symbol) return {};
      const Expr standing = one_symbol ? symbol_of(at) : at;
      const Node& n = pool[standing];
      const Symbol& symbol = program.symbols[static_cast<SymbolId>(n.payload)];
      if (!symbol.value) return standing == at ? Expr{} : standing;
      return pool.integer(*symbol.value, symbol.type);
    });
    changed |= bound != e;
    e = bound;
  };
  for (Index& index : program.indices) bind(index.begin), bind(index.end);
  for (Scalar& scalar : program.scalars) bind(scalar.default_value);
  for (Tensor& tensor : program.tensors) {
    one_symbol = tensor.role == Role::temp;
    for (Expr& size : tensor.shape) bind(size);
    bind(tensor.fact_begin);
    bind(tensor.fact_end);
  }
  one_symbol = true;
  for (Equation& equation : program.equations) {
    for (Expr& s : equation.subscripts) bind(s);
    bind(equation.body);
  }
  one_symbol = false;
  std::vector<Requirement> left;
  for (Requirement& requirement : program.requirements) {
    bind(requirement.condition);
    if (!pool.is_true(requirement.condition)) left.push_back(requirement);
  }
  program.requirements = std::move(left);
  return changed;
}

}  // namespace quern::compiler
