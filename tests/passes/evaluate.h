// Values of pointwise expressions in the arithmetic of their types (f32 rounds after every operation), for tests that
// compare two expressions bit by bit.
#pragma once

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <stdexcept>
#include <vector>

#include "dsl/ir/operators.h"
#include "dsl/ir/program.h"

namespace quern::test {

struct Value {
  double real = 0;
  std::int64_t integer = 0;
};

struct Surroundings {
  const ir::Program* program = nullptr;
  std::map<ir::IndexId, std::int64_t> indices;
  std::map<ir::SymbolId, std::int64_t> symbols;
  std::map<ir::ScalarId, Value> scalars;
  std::map<std::int64_t, double> accumulators;
  std::function<Value(ir::TensorId, const std::vector<std::int64_t>&)> read;
};

inline double in_type(DType type, double v) { return type == DType::f64 ? v : static_cast<double>(static_cast<float>(v)); }

inline Value evaluate(const Surroundings& s, ir::Expr e) {
  using ir::Op;
  const ir::ExprPool& pool = s.program->pool;
  const ir::Node& n = pool[e];
  const bool real_type = is_float(n.type);
  switch (n.op) {
    case Op::constant: return real_type ? Value{std::bit_cast<double>(n.payload), 0} : Value{0, n.payload};
    case Op::index: return {0, s.indices.at(static_cast<ir::IndexId>(n.payload))};
    case Op::symbol: return {0, s.symbols.at(static_cast<ir::SymbolId>(n.payload))};
    case Op::scalar: return s.scalars.at(static_cast<ir::ScalarId>(n.payload));
    case Op::accumulator: return {s.accumulators.at(n.payload), 0};
    case Op::read: {
      std::vector<std::int64_t> at;
      for (ir::Expr a : n.args) at.push_back(evaluate(s, a).integer);
      return s.read(static_cast<ir::TensorId>(n.payload), at);
    }
    case Op::where: return evaluate(s, evaluate(s, n.args[0]).integer ? n.args[1] : n.args[2]);
    case Op::and_: return evaluate(s, n.args[0]).integer ? evaluate(s, n.args[1]) : Value{0, 0};
    case Op::or_: return evaluate(s, n.args[0]).integer ? Value{0, 1} : evaluate(s, n.args[1]);
    case Op::cast: {
      const Value v = evaluate(s, n.args[0]);
      const DType from = pool.type(n.args[0]);
      if (is_float(from)) {
        if (real_type) return {rounded_to(n.type, v.real), 0};
        if (n.type == DType::boolean) return {0, v.real != 0};
        alignas(8) unsigned char at[8] = {};
        store_from_f64(n.type, at, v.real);
        return {0, load_as_i64(n.type, at)};
      }
      if (real_type) return {n.type == DType::f64 ? static_cast<double>(v.integer) : rounded_to(n.type, static_cast<double>(v.integer)), 0};
      return {0, n.type == DType::boolean ? v.integer != 0 : wrapped_to(n.type, v.integer)};
    }
    default: break;
  }
  std::vector<Value> v;
  for (ir::Expr a : n.args) v.push_back(evaluate(s, a));
  const DType operand = pool.type(n.args[0]);
  if (!is_float(operand)) {
    std::vector<std::int64_t> args;
    for (const Value& x : v) args.push_back(x.integer);
    const auto out = ir::fold_integer(n.op, args, n.type);
    if (!out) throw std::logic_error("no integer meaning");
    return {0, *out};
  }
  const double a = v[0].real, b = v.size() > 1 ? v[1].real : 0;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  auto f = [&](double x) { return Value{in_type(n.type, x), 0}; };
  auto c = [](bool x) { return Value{0, x}; };
  switch (n.op) {
    case Op::neg: return f(-a);
    case Op::abs: return f(std::fabs(a));
    case Op::exp: return f(std::exp(a));
    case Op::exp2: return f(std::exp2(a));
    case Op::log: return f(std::log(a));
    case Op::sqrt: return f(std::sqrt(a));
    case Op::tanh: return f(std::tanh(a));
    case Op::floor: return f(std::floor(a));
    case Op::relu: return f(std::isnan(a) ? nan : a > 0 ? a : 0.0);
    case Op::add: return f(a + b);
    case Op::sub: return f(a - b);
    case Op::mul: return f(a * b);
    case Op::div: return f(a / b);
    case Op::pow: return f(std::pow(a, b));
    case Op::min: return f(std::isnan(a) || std::isnan(b) ? nan : a < b || (a == b && std::signbit(a)) ? a : b);
    case Op::max: return f(std::isnan(a) || std::isnan(b) ? nan : a > b || (a == b && std::signbit(b)) ? a : b);
    case Op::eq: return c(a == b);
    case Op::ne: return c(a != b);
    case Op::lt: return c(a < b);
    case Op::le: return c(a <= b);
    case Op::gt: return c(a > b);
    case Op::ge: return c(a >= b);
    case Op::isnan: return c(std::isnan(a));
    case Op::isinf: return c(std::isinf(a));
    case Op::isfinite: return c(std::isfinite(a));
    default: throw std::logic_error("no meaning in this test for " + std::string(ir::name(n.op)));
  }
}

}  // namespace quern::test
