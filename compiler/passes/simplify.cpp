// simplify: applies the two rule tables bottom up until nothing fits.
// Goes in: any program. Comes out: the same values from smaller expressions. The idea: a walk that carries the conditions
// that hold at a node (branches of `where`, domains, the left side of `and`), so that a rule is local and still knows them.
#include "compiler/passes/simplify.h"

#include <unordered_map>

#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

constexpr int kStepsPerNode = 16;  // a rule set that runs in circles stops here; tests see it

struct Simplifier {
  Program& program;
  const Ranges& ranges;
  ExprPool& pool;
  std::unordered_map<std::uint64_t, Expr> done;

  /// What is known at the point of a map says nothing about the points it runs over, though both are called alike.
  Expr without_axes(Expr known, const Node& form) {
    std::vector<Expr> parts;
    for (Expr part : conjuncts(pool, known))
      if (!pool.depends_on_any(part, form.axes)) parts.push_back(part);
    return conjunction(pool, parts);
  }

  Expr visit(Expr e, Expr known) {
    const std::uint64_t key = (std::uint64_t(e.id) << 32) | known.id;
    if (auto it = done.find(key); it != done.end()) return it->second;
    const Node node = pool[e];
    Expr out = e;
    if (!node.args.empty()) {
      std::vector<Expr> args;
      switch (node.op) {
        case Op::where: {
          const Expr c = visit(node.args[0], known);
          args = {c, visit(node.args[1], both(pool, known, c)), visit(node.args[2], both(pool, known, negation(pool, c)))};
          break;
        }
        case Op::and_: {
          const Expr a = visit(node.args[0], known);
          args = {a, visit(node.args[1], both(pool, known, a))};
          break;
        }
        case Op::or_: {
          const Expr a = visit(node.args[0], known);
          args = {a, visit(node.args[1], both(pool, known, negation(pool, a)))};
          break;
        }
        case Op::reduce: case Op::map: case Op::topk_value: case Op::topk_position: {
          const Expr outside = without_axes(known, node);
          const Expr domain = visit(node.args[1], outside);
          args = {visit(node.args[0], both(pool, outside, domain)), domain};
          break;
        }
        case Op::scan: {
          const Expr outside = without_axes(known, node);
          args = {visit(node.args[0], outside), visit(node.args[1], outside), visit(node.args[2], outside)};
          break;
        }
        default:
          for (Expr a : node.args) args.push_back(visit(a, known));
      }
      if (is_elementwise(node.op)) out = pool.apply(node.op, args);
      else if (node.op == Op::cast) out = pool.cast(args[0], node.type, node.flags);
      else if (node.op == Op::scan && pool.is_true(args[1])) out = pool.scan(node.axes[0], args[0], args[2], node.type);
      else {
        Node copy = node;
        copy.args = std::move(args);
        out = pool.intern(std::move(copy));
      }
    }
    const std::vector<Expr> facts = conjuncts(pool, known);
    const RuleScope scope{program, ranges, facts};
    for (int step = 0; step < kStepsPerNode; ++step) {
      Expr next;
      for (const auto table : {index_rules(), float_rules()})
        for (const SimplifyRule& rule : table)
          if (!next) next = rule.apply(scope, out);
      if (!next || next == out) break;
      out = next;
    }
    return done[key] = out;
  }
};

}  // namespace

namespace {

/// A rule may build nodes whose operands can be simplified again.
Expr settled(Simplifier& simplifier, Expr e) {
  for (int round = 0; round < 4; ++round) {
    const Expr next = simplifier.visit(e, simplifier.pool.boolean(true));
    if (next == e) break;
    e = next;
  }
  return e;
}

}  // namespace

Expr simplified(Program& program, const Ranges& ranges, Expr e) {
  Simplifier simplifier{program, ranges, program.pool, {}};
  return settled(simplifier, e);
}

bool simplify(Program& program) {
  bool changed = false;
  const Ranges ranges(program);
  Simplifier simplifier{program, ranges, program.pool, {}};
  auto apply = [&](Expr& e) {
    if (!e) return;
    const Expr next = settled(simplifier, e);
    changed |= next != e;
    e = next;
  };
  for (Scalar& scalar : program.scalars) apply(scalar.default_value);
  for (Equation& equation : program.equations) {
    for (Expr& s : equation.subscripts) apply(s);
    apply(equation.body);
  }
  return changed;
}

}  // namespace quern::compiler
