// Scalar expressions at one point. Integers and bools are exact and wrap; floats are taken in f64.
#include "tools/command/evaluate.h"

#include <bit>
#include <cmath>

namespace quern::command {
namespace {

/// Integers and bools in `integer`, floats in `real`.
struct Value {
  std::int64_t integer = 0;
  double real = 0;
};

class Evaluator {
 public:
  Evaluator(const ir::Program& program, const Bindings& at) : program_(program), at_(at) {}

  std::optional<Value> operator()(ir::Expr e) {
    const ir::Node& node = program_.pool[e];
    const auto id = static_cast<std::size_t>(node.payload);
    switch (node.op) {
      case ir::Op::constant:
        return is_float(node.type) ? Value{0, std::bit_cast<double>(node.payload)} : Value{node.payload, 0};
      case ir::Op::index:
        return id < at_.indices.size() ? std::optional(Value{at_.indices[id], 0}) : std::nullopt;
      case ir::Op::symbol:
        if (id >= at_.symbols.size() || !at_.symbols[id]) return std::nullopt;
        return Value{*at_.symbols[id], 0};
      case ir::Op::scalar: {
        if (id >= at_.scalars.size() || !at_.scalars[id]) return std::nullopt;
        const double value = *at_.scalars[id];
        return is_float(node.type) ? Value{0, value} : Value{static_cast<std::int64_t>(value), 0};
      }
      case ir::Op::read: return read(node, id);
      case ir::Op::cast: return cast(node);
      case ir::Op::where: {
        const auto condition = (*this)(node.args[0]);
        return condition ? (*this)(node.args[condition->integer != 0 ? 1 : 2]) : std::nullopt;
      }
      default: return ir::is_elementwise(node.op) ? elementwise(node) : std::nullopt;
    }
  }

 private:
  std::optional<Value> read(const ir::Node& node, std::size_t tensor) {
    const npy::Array* array = tensor < at_.tensors.size() ? at_.tensors[tensor] : nullptr;
    if (array == nullptr || array->shape.size() != node.args.size()) return std::nullopt;
    std::int64_t position = 0;
    for (std::size_t a = 0; a < node.args.size(); ++a) {
      const auto subscript = (*this)(node.args[a]);
      if (!subscript || subscript->integer < 0 || subscript->integer >= array->shape[a]) return std::nullopt;
      position = position * array->shape[a] + subscript->integer;
    }
    if (is_float(array->type)) return Value{0, load_as_f64(array->type, array->at(position))};
    return Value{load_as_i64(array->type, array->at(position)), 0};
  }

  std::optional<Value> cast(const ir::Node& node) {
    const auto value = (*this)(node.args[0]);
    if (!value) return std::nullopt;
    const DType from = program_.pool.type(node.args[0]);
    const double real = is_float(from) ? value->real : static_cast<double>(value->integer);
    if (is_float(node.type)) return Value{0, rounded_to(node.type, real)};
    if (!is_float(from)) {
      return Value{node.type == DType::boolean ? value->integer != 0 : wrapped_to(node.type, value->integer), 0};
    }
    std::int64_t stored = 0;
    store_from_f64(DType::i64, &stored, real);
    return Value{stored, 0};
  }

  std::optional<Value> elementwise(const ir::Node& node) {
    std::vector<Value> v;
    for (ir::Expr arg : node.args) {
      const auto value = (*this)(arg);
      if (!value) return std::nullopt;
      v.push_back(*value);
    }
    const bool real = is_float(program_.pool.type(node.args[0]));
    const auto truth = [](bool b) { return Value{b, 0}; };
    const auto compare = [&](auto test) { return truth(real ? test(v[0].real, v[1].real) : test(v[0].integer, v[1].integer)); };
    switch (node.op) {
      case ir::Op::not_: return truth(v[0].integer == 0);
      case ir::Op::and_: return truth(v[0].integer != 0 && v[1].integer != 0);
      case ir::Op::or_: return truth(v[0].integer != 0 || v[1].integer != 0);
      case ir::Op::eq: return compare([](auto a, auto b) { return a == b; });
      case ir::Op::ne: return compare([](auto a, auto b) { return a != b; });
      case ir::Op::lt: return compare([](auto a, auto b) { return a < b; });
      case ir::Op::le: return compare([](auto a, auto b) { return a <= b; });
      case ir::Op::gt: return compare([](auto a, auto b) { return a > b; });
      case ir::Op::ge: return compare([](auto a, auto b) { return a >= b; });
      default: break;
    }
    return real ? on_reals(node.op, v) : on_integers(node, v);
  }

  static std::optional<Value> on_reals(ir::Op op, const std::vector<Value>& v) {
    const double a = v[0].real, b = v.size() > 1 ? v[1].real : 0;
    switch (op) {
      case ir::Op::neg: return Value{0, -a};
      case ir::Op::abs: return Value{0, std::fabs(a)};
      case ir::Op::add: return Value{0, a + b};
      case ir::Op::sub: return Value{0, a - b};
      case ir::Op::mul: return Value{0, a * b};
      case ir::Op::div: return Value{0, a / b};
      case ir::Op::pow: return Value{0, std::pow(a, b)};
      case ir::Op::min: return Value{0, a != a || a < b ? a : b};
      case ir::Op::max: return Value{0, a != a || a > b ? a : b};
      case ir::Op::floor: return Value{0, std::floor(a)};
      case ir::Op::ceil: return Value{0, std::ceil(a)};
      case ir::Op::trunc: return Value{0, std::trunc(a)};
      case ir::Op::sqrt: return Value{0, std::sqrt(a)};
      case ir::Op::rsqrt: return Value{0, 1 / std::sqrt(a)};
      case ir::Op::exp: return Value{0, std::exp(a)};
      case ir::Op::log: return Value{0, std::log(a)};
      case ir::Op::isnan: return Value{a != a, 0};
      case ir::Op::isinf: return Value{std::isinf(a), 0};
      case ir::Op::isfinite: return Value{std::isfinite(a), 0};
      default: return std::nullopt;
    }
  }

  static std::optional<Value> on_integers(const ir::Node& node, const std::vector<Value>& v) {
    const std::int64_t a = v[0].integer, b = v.size() > 1 ? v[1].integer : 0;
    // Through unsigned numbers: integers wrap.
    const auto ua = static_cast<std::uint64_t>(a), ub = static_cast<std::uint64_t>(b);
    const auto wrapped = [&](std::uint64_t value) { return Value{wrapped_to(node.type, static_cast<std::int64_t>(value)), 0}; };
    switch (node.op) {
      case ir::Op::neg: return wrapped(0 - ua);
      case ir::Op::abs: return wrapped(a < 0 ? 0 - ua : ua);
      case ir::Op::sign: return Value{(a > 0) - (a < 0), 0};
      case ir::Op::relu: return Value{a > 0 ? a : 0, 0};
      case ir::Op::add: return wrapped(ua + ub);
      case ir::Op::sub: return wrapped(ua - ub);
      case ir::Op::mul: return wrapped(ua * ub);
      case ir::Op::min: return Value{a < b ? a : b, 0};
      case ir::Op::max: return Value{a > b ? a : b, 0};
      case ir::Op::floordiv:
      case ir::Op::mod: {
        if (b == 0) return Value{0, 0};
        if (b == -1) return node.op == ir::Op::mod ? Value{0, 0} : wrapped(0 - ua);
        const std::int64_t quotient = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
        return Value{node.op == ir::Op::mod ? a - quotient * b : quotient, 0};
      }
      default: return std::nullopt;
    }
  }

  const ir::Program& program_;
  const Bindings& at_;
};

}  // namespace

Bindings::Bindings(const ir::Program& program)
    : symbols(program.symbols.size()),
      scalars(program.scalars.size()),
      tensors(program.tensors.size(), nullptr),
      indices(program.indices.size(), 0) {
  for (std::size_t i = 0; i < symbols.size(); ++i) symbols[i] = program.symbols[i].value;
}

std::optional<std::int64_t> evaluate_integer(const ir::Program& program, ir::Expr e, const Bindings& at) {
  if (!e || is_float(program.pool.type(e))) return std::nullopt;
  const auto value = Evaluator(program, at)(e);
  return value ? std::optional(value->integer) : std::nullopt;
}

std::optional<double> evaluate_real(const ir::Program& program, ir::Expr e, const Bindings& at) {
  if (!e) return std::nullopt;
  const auto value = Evaluator(program, at)(e);
  if (!value) return std::nullopt;
  return is_float(program.pool.type(e)) ? value->real : static_cast<double>(value->integer);
}

}  // namespace quern::command
