// The entry: checks what it was given, compiles the equations for these sizes, and runs them in f64, or in long double
// where the program itself computes in f64, so that f64 results can be judged.
#include "compiler/interpreter/interpret.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <new>

#include "compiler/interpreter/elementwise.h"
#include "compiler/interpreter/machine.h"
#include "dsl/ir/operators.h"

namespace quern::compiler {

using ir::Expr;
using ir::Node;
using ir::Op;

std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

std::int64_t evaluate_size(const ir::Program& program, Expr e, const std::vector<std::int64_t>& symbols) {
  const Node& n = program.pool[e];
  if (n.op == Op::constant) return n.payload;
  if (n.op == Op::symbol) {
    const auto id = static_cast<std::size_t>(n.payload);
    return program.symbols[id].value ? *program.symbols[id].value : id < symbols.size() ? symbols[id] : 0;
  }
  if (n.op == Op::cast) return wrapped_to(n.type, evaluate_size(program, n.args[0], symbols));
  if (!ir::is_elementwise(n.op)) return 0;
  std::vector<std::int64_t> args;
  for (Expr a : n.args) args.push_back(evaluate_size(program, a, symbols));
  const DType operand = program.pool.type(n.args[n.op == Op::where ? 1 : 0]);
  return ir::fold_integer(n.op, args, operand).value_or(0);
}

namespace {

/// Value of a scalar expression over symbols, constants and other scalars (defaults of scalar parameters).
double evaluate_real(const ir::Program& program, Expr e, const Arguments& arguments) {
  const Node& n = program.pool[e];
  switch (n.op) {
    case Op::constant:
      return is_float(n.type) ? std::bit_cast<double>(n.payload) : static_cast<double>(n.payload);
    case Op::symbol:
      return static_cast<double>(evaluate_size(program, e, arguments.symbols));
    case Op::scalar: {
      const ScalarValue& s = arguments.scalars[static_cast<std::size_t>(n.payload)];
      return is_float(n.type) ? s.real : static_cast<double>(s.integer);
    }
    case Op::cast: {
      const double v = evaluate_real(program, n.args[0], arguments);
      return is_float(n.type) ? rounded_to(n.type, v) : v;
    }
    default:
      break;
  }
  if (!ir::is_elementwise(n.op)) return 0;
  if (!is_float(n.type)) return static_cast<double>(evaluate_size(program, e, arguments.symbols));
  if (n.op == Op::where)
    return evaluate_real(program, n.args[evaluate_real(program, n.args[0], arguments) != 0 ? 1 : 2], arguments);
  double x[3] = {0, 0, 0};
  for (std::size_t i = 0; i < n.args.size(); ++i) x[i] = evaluate_real(program, n.args[i], arguments);
  const double r = interpreter::plain<double>(n.op, x[0], x[1], x[2]);
  return n.type == DType::f64 ? r : rounded_to(DType::f32, r);
}

/// f64 anywhere in what is computed: the reference needs more digits than that.
bool needs_long(const ir::Program& program) {
  for (const ir::Tensor& t : program.tensors)
    if (t.type == DType::f64) return true;
  std::vector<bool> seen(program.pool.size(), false);
  std::vector<Expr> open;
  for (const ir::Equation& eq : program.equations) open.push_back(eq.body);
  while (!open.empty()) {
    const Expr e = open.back();
    open.pop_back();
    if (seen[e.id]) continue;
    seen[e.id] = true;
    if (program.pool.type(e) == DType::f64) return true;
    for (Expr a : program.pool[e].args) open.push_back(a);
  }
  return false;
}

std::string refuse(const ir::Program& program, const Arguments& arguments) {
  if (arguments.tensors.size() != program.parameters.size())
    return fmt::format("'{}' takes {} tensors, {} were given", program.name, program.parameters.size(),
                       arguments.tensors.size());
  if (arguments.scalars.size() != program.scalars.size())
    return fmt::format("'{}' takes {} scalars, {} were given", program.name, program.scalars.size(),
                       arguments.scalars.size());
  if (arguments.symbols.size() != program.symbols.size())
    return fmt::format("'{}' has {} sizes, {} were given", program.name, program.symbols.size(),
                       arguments.symbols.size());
  for (std::size_t k = 0; k < program.parameters.size(); ++k) {
    const ir::Tensor& t = program.tensors[program.parameters[k]];
    const TensorView& view = arguments.tensors[k];
    if (view.shape.size() != t.shape.size() || view.strides.size() != t.shape.size())
      return fmt::format("'{}' has {} axes, the argument has {}", t.name, t.shape.size(), view.shape.size());
    bool empty = false;
    for (std::size_t d = 0; d < t.shape.size(); ++d) {
      const std::int64_t want = evaluate_size(program, t.shape[d], arguments.symbols);
      if (view.shape[d] != want)
        return fmt::format("axis {} of '{}' is {} long, the argument's {}", d, t.name, want, view.shape[d]);
      empty = empty || want == 0;
    }
    if (!view.data && !empty) return fmt::format("'{}' has no data", t.name);
  }
  return {};
}

template <class R>
Results run(const ir::Program& program, const Arguments& arguments, const InterpretOptions& options) {
  ir::Program copy = program;  // its pool grows while compiling
  std::vector<std::int64_t> symbols = arguments.symbols;
  for (std::size_t i = 0; i < symbols.size(); ++i)
    if (program.symbols[i].value) symbols[i] = *program.symbols[i].value;
  interpreter::Code code = interpreter::compile_code(copy, symbols);
  if (!code.error.empty()) {
    Results refused;
    refused.error = std::move(code.error);
    return refused;
  }
  return interpreter::Machine<R>(copy, std::move(code), arguments, options).run();
}

}  // namespace

void fill_defaults(const ir::Program& program, const std::vector<bool>& passed, Arguments& arguments) {
  arguments.scalars.resize(program.scalars.size());
  for (std::size_t i = 0; i < program.scalars.size(); ++i) {
    const ir::Scalar& s = program.scalars[i];
    if ((i < passed.size() && passed[i]) || !s.default_value) continue;
    const double value = evaluate_real(program, s.default_value, arguments);
    if (is_float(s.type))
      arguments.scalars[i].real = rounded_to(s.type, value);
    else
      arguments.scalars[i].integer = is_float(program.pool.type(s.default_value))
                                         ? static_cast<std::int64_t>(rounded_to(s.type, value))
                                         : evaluate_size(program, s.default_value, arguments.symbols);
  }
}

Results interpret(const ir::Program& program, const Arguments& arguments, const InterpretOptions& options) {
  Results refused;
  refused.error = refuse(program, arguments);
  if (!refused.error.empty()) return refused;
  try {
    return needs_long(program) ? run<long double>(program, arguments, options)
                               : run<double>(program, arguments, options);
  } catch (const std::bad_alloc&) {
    refused.error = "out of memory; a smaller memory limit or a sample of the outputs needs less";
    return refused;
  }
}

}  // namespace quern::compiler
