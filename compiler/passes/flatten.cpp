// flatten: every reduce, map, scan and topk below the root of an equation gets a temp of its own over its free indices.
// Goes in: any checked program. Comes out: equations whose body is pointwise, or one binding form over pointwise bodies.
// The idea is in the guards: a form that stood behind a condition (a branch of `where`, the domain of a form around it,
// a softmax that is zero at the point, a loop that it leaves and that may be empty) inherits that condition when reading
// without it could go wrong, so a guarded-off point reads nothing; its value there is never used.
#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

#include "compiler/passes/empty_loops.h"
#include "compiler/passes/free_previous.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/ranges.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

std::string_view label_of(const Node& node) {
  switch (node.op) {
    case Op::reduce: return name(static_cast<Reducer>(node.payload));
    case Op::map: return name(static_cast<AxisMap>(node.payload));
    case Op::scan: return "scan";
    default: return "topk";
  }
}

struct Flattener {
  Program& program;
  ExprPool& pool;
  std::vector<Equation> out;
  std::string base;  // name of the target being flattened
  Span span;
  std::vector<IndexId> order;  // of its indices
  std::vector<IndexId> around;  // the loops at hand: of the equation, then of the forms around
  std::map<std::tuple<Expr, Expr, std::vector<IndexId>>, Expr> done;  // (expression, guard, loops) -> flat expression
  std::unordered_map<std::uint32_t, Expr> named;  // form with its guard -> read of its temp
  std::unordered_map<std::uint32_t, bool> plain;  // pointwise already, and no softmax to guard by
  /// Tensors that are a structural zero outside a condition, over the indices of their axes.
  struct Support {
    std::vector<IndexId> axes;
    Expr condition;
  };
  std::unordered_map<TensorId, Support> supports;
  std::unordered_map<std::uint32_t, Expr> zeros;  // expression -> where it is not a structural zero

  explicit Flattener(Program& p) : program(p), pool(p.pool) {}

  void begin(const Equation& equation) {
    base = program.tensors[equation.targets[0]].name;
    order = equation.indices;
    around = order;
    span = equation.span;
    done.clear();
    named.clear();
  }

  bool is_plain(Expr e) {
    if (auto it = plain.find(e.id); it != plain.end()) return it->second;
    const Node n = pool[e];
    bool ok = !binds_axes(n.op) && !(n.op == Op::read && supports.contains(static_cast<TensorId>(n.payload)));
    for (Expr a : n.args) ok = ok && is_plain(a);
    return plain[e.id] = ok;
  }

  /// Where `e` is a structural zero outside: the domain of a softmax, through casts, negation, products and names.
  Expr zero_outside(Expr e) {
    if (auto it = zeros.find(e.id); it != zeros.end()) return it->second;
    const Expr found = find_zero_outside(e);
    return zeros[e.id] = found;
  }
  Expr find_zero_outside(Expr e) {
    const Node n = pool[e];
    if (n.op == Op::read) {
      auto it = supports.find(static_cast<TensorId>(n.payload));
      if (it == supports.end()) return {};
      Renaming values;
      for (std::size_t k = 0; k < n.args.size(); ++k) values[it->second.axes[k]] = n.args[k];
      return fresh_copy(program, it->second.condition, values);
    }
    if (n.op == Op::map && static_cast<AxisMap>(n.payload) == AxisMap::softmax && !pool.is_true(n.args[1])) return n.args[1];
    if (n.op == Op::cast || n.op == Op::neg) return zero_outside(n.args[0]);
    if (n.op == Op::mul) {
      const Expr a = zero_outside(n.args[0]), b = zero_outside(n.args[1]);
      if (a && b) return both(pool, a, b);
      return a ? a : b;
    }
    return {};
  }

  void remember_support(const Equation& equation) {
    if (equation.op != AssignOp::set || equation.targets.size() != 1) return;
    Support support{{}, zero_outside(equation.body)};
    if (!support.condition) return;
    for (Expr s : equation.subscripts) {
      if (pool[s].op != Op::index) return;
      support.axes.push_back(static_cast<IndexId>(pool[s].payload));
    }
    supports[equation.targets[0]] = std::move(support);
    plain.clear();
    zeros.clear();
  }

  Expr visit(Expr e, Expr guard) {
    if (is_plain(e)) return e;
    const std::tuple key(e, guard, around);
    if (auto it = done.find(key); it != done.end()) return it->second;
    const Node node = pool[e];
    Expr result;
    if (binds_axes(node.op) && node.op != Op::scan && uses_previous(pool, e)) {
      const auto moved = without_previous_inside(program, e);
      if (!moved) throw std::logic_error("quern internal error: flatten: `prev` cannot leave a " + std::string(label_of(node)) + " in the body of a scan");
      result = visit(*moved, guard);
    } else if (binds_axes(node.op)) {
      const Expr wanted = guard_of_form(node, guard);
      const Expr flat = form(node, wanted);
      result = binds_axes(pool[flat].op) ? name_form(flat, wanted) : flat;
    } else if (node.op == Op::where) {
      const Expr c = visit(node.args[0], guard);
      const Expr yes = visit(node.args[1], both(pool, guard, c));
      const Expr no = visit(node.args[2], both(pool, guard, negation(pool, c)));
      result = pool.where(c, yes, no);
    } else if (Expr inside = node.op == Op::mul ? zero_outside(e) : Expr{}) {
      const Expr c = visit(inside, guard);
      const Expr g = both(pool, guard, c);
      const Expr product = pool.mul(visit(node.args[0], g), visit(node.args[1], g));
      result = pool.where(c, product, zero(pool, pool.type(product)));
    } else {
      std::vector<Expr> args;
      for (Expr a : node.args) args.push_back(visit(a, guard));
      if (is_elementwise(node.op)) result = pool.apply(node.op, args);
      else if (node.op == Op::cast) result = pool.cast(args[0], node.type, node.flags);
      else {
        Node copy = node;
        copy.args = std::move(args);
        result = pool.intern(std::move(copy));
      }
    }
    return done[key] = result;
  }

  /// A condition under which the form as a whole is wanted: a form that keeps its axis runs if one of its points is, and
  /// its axis inside is another one than outside.
  Expr guard_of_form(const Node& node, Expr guard) {
    if (node.op == Op::reduce) return guard;
    const IndexId axis = node.op == Op::topk_value || node.op == Op::topk_position ? node.axes[1] : node.axes[0];
    std::vector<Expr> outside, along;
    for (Expr part : conjuncts(pool, guard)) (pool.depends_on(part, axis) ? along : outside).push_back(part);
    if (!along.empty() && !Ranges(program).reads_in_range(pool.intern(node))) {
      const Expr any = pool.reduce(Reducer::any, {axis}, conjunction(pool, along), {}, DType::boolean);
      outside.push_back(name_form(any, conjunction(pool, outside)));
    }
    return conjunction(pool, outside);
  }

  /// The form with flat operands; sums and products take the type that they accumulate in.
  Expr form(const Node& node, Expr guard) {
    Node copy = node;
    const std::size_t outside = around.size();
    around.insert(around.end(), node.axes.begin(), node.axes.end());
    if (node.op == Op::scan) {
      copy.args[0] = visit(node.args[0], guard);
      copy.args[2] = visit(node.args[2], guard);
    } else {
      copy.args[1] = visit(node.args[1], guard);
      copy.args[0] = visit(node.args[0], both(pool, guard, copy.args[1]));
    }
    around.resize(outside);
    // A `prev` that left what it stood in may have nothing left to be: then this is no recurrence.
    if (node.op == Op::scan) return pool.scan(node.axes[0], copy.args[0], copy.args[2], node.type);
    if (node.op == Op::reduce) {
      const auto reducer = static_cast<Reducer>(node.payload);
      if (reducer == Reducer::sum || reducer == Reducer::prod) copy.args[0] = pool.cast(copy.args[0], node.type);
    }
    return pool.intern(std::move(copy));
  }

  /// `form` as it may run at every point of its indices, without `guard` around it.
  Expr guarded(Expr form, Expr guard) {
    if (pool.is_true(guard)) return form;
    if (Ranges(program).reads_in_range(form)) return form;
    return under_guard(program, form, conjunction(pool, conjuncts(pool, guard)));
  }

  /// Gives a flat form its temp and returns the read of it.
  Expr name_form(Expr form, Expr guard) {
    form = outside_loops(program, guarded(form, guard), around);
    if (auto it = named.find(form.id); it != named.end()) return it->second;
    const Node node = pool[form];
    const std::string label(label_of(node));
    const std::vector<IndexId> free = free_in_order(pool, form, order);
    if (node.op == Op::topk_value || node.op == Op::topk_position) {
      Node value = node, position = node;
      value.op = Op::topk_value, position.op = Op::topk_position;
      value.type = pool.type(node.args[0]), position.type = DType::i32;
      Temp values = add_temp(program, base + "_" + label, value.type, free);
      Temp positions = add_temp(program, base + "_" + label + "_at", DType::i32, free);
      values.equation.targets.push_back(positions.tensor);
      values.equation.body = fresh_copy(program, pool.intern(value), values.renaming);
      values.equation.span = span;
      out.push_back(std::move(values.equation));
      named[pool.intern(value).id] = values.read;
      named[pool.intern(position).id] = positions.read;
      return node.op == Op::topk_value ? values.read : positions.read;
    }
    Temp temp = add_temp(program, base + "_" + label, node.type, free);
    temp.equation.body = fresh_copy(program, form, temp.renaming);
    temp.equation.span = span;
    out.push_back(std::move(temp.equation));
    return named[form.id] = temp.read;
  }
};

}  // namespace

bool flatten(Program& program) {
  Flattener flattener(program);
  ExprPool& pool = program.pool;
  bool changed = false;
  for (Equation& equation : program.equations) {
    flattener.begin(equation);
    const Expr before = equation.body;
    const Expr everywhere = pool.boolean(true);
    const Node root = pool[equation.body];
    flattener.remember_support(equation);
    // A position alone cannot be the body of an equation: it needs the values beside it.
    const bool keeps_root = binds_axes(root.op) && equation.op == AssignOp::set && root.op != Op::topk_position &&
                            (root.op != Op::topk_value || equation.targets.size() == 2);
    equation.body = keeps_root ? flattener.form(root, everywhere) : flattener.visit(equation.body, everywhere);
    for (Expr& subscript : equation.subscripts) subscript = flattener.visit(subscript, everywhere);
    changed |= equation.body != before;
    flattener.out.push_back(std::move(equation));
  }
  program.equations = std::move(flattener.out);
  return changed;
}

}  // namespace quern::compiler
