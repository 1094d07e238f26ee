// Elementary functions of the operator table: which routine, and which precision it runs in. f32 functions that are hard
// to get right in f32 run in f64 and are rounded once.
#include "compiler/codegen/cpu/math.h"

#include <stdexcept>

#include "compiler/codegen/cpu/math_real.h"

namespace quern::cpu {

using ir::Op;
using llvm::Value;

namespace {

Real apply(const Math& m, Op op, Value* xv, Value* yv) {
  const Real x = m.of(xv), y = m.of(yv);
  switch (op) {
    case Op::exp: return exponential(x);
    case Op::exp2: return exponential2(x);
    case Op::expm1: return exponential_minus_1(x);
    case Op::log: return logarithm(x);
    case Op::log2: return logarithm2(x);
    case Op::log1p: return logarithm_plus_1(x);
    case Op::rsqrt: return 1.0 / m.sqrt(x);
    case Op::cbrt: return cube_root(x);
    case Op::sin: return sine(x);
    case Op::cos: return cosine(x);
    case Op::tan: return tangent(x);
    case Op::asin: return arc_sine(x);
    case Op::acos: return arc_cosine(x);
    case Op::atan: return arc_tangent(x);
    case Op::sinh: return hyperbolic_sine(x);
    case Op::cosh: return hyperbolic_cosine(x);
    case Op::tanh: return hyperbolic_tangent(x);
    case Op::erf: return error_function(x);
    case Op::sigmoid: return logistic(x);
    case Op::gelu: return gaussian_linear_unit(x);
    case Op::silu: return sigmoid_linear_unit(x);
    case Op::softplus: return softplus(x);
    case Op::pow: return power(x, y);
    case Op::atan2: return arc_tangent2(x, y);
    case Op::hypot: return hypotenuse(x, y);
    case Op::logaddexp: return log_add_exp(x, y);
    default: throw std::logic_error("an operator without code");
  }
}

bool through_f64(Op op, const Target& target) {
  switch (op) {
    case Op::gelu: return !target.fma;
    case Op::cbrt: case Op::sin: case Op::cos: case Op::tan: case Op::pow: case Op::atan2: case Op::hypot: case Op::acos: return true;
    default: return false;
  }
}

}  // namespace

Value* math_function(Builder& b, const Target& target, Op op, Value* x, Value* y) {
  llvm::Type* type = x->getType();
  if (type->getScalarType()->isFloatTy() && through_f64(op, target)) {
    llvm::Type* wide = shaped_like(b.getDoubleTy(), type);
    const Math m(b, target, wide);
    const Real r = apply(m, op, b.CreateFPExt(x, wide), y ? b.CreateFPExt(y, wide) : nullptr);
    return b.CreateFPTrunc(r.v, type);
  }
  return apply(Math(b, target, type), op, x, y).v;
}

}  // namespace quern::cpu
