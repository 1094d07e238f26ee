// Operators of the table that are a few instructions each; elementary functions are in math*.cpp. Integers wrap, `div`
// and `mod` are floored and give 0 for a zero divisor, max and min let NaN through.
#include "compiler/codegen/cpu/elementwise.h"

#include <llvm/IR/Intrinsics.h>

#include "compiler/codegen/cpu/math.h"

namespace quern::cpu {

using ir::Op;
using llvm::Constant;
using llvm::ConstantFP;
using llvm::ConstantInt;
using llvm::Intrinsic::ID;
using llvm::Value;

namespace {

Value* zero(Value* like) { return Constant::getNullValue(like->getType()); }
Value* real(Value* like, double v) { return ConstantFP::get(like->getType(), v); }
Value* integer(Value* like, std::int64_t v) { return ConstantInt::getSigned(like->getType(), v); }

/// Quotient and remainder toward minus infinity; both 0 for a zero divisor.
Value* floor_division(Builder& b, DType type, bool remainder, Value* x, Value* y) {
  if (type == DType::boolean) return remainder ? b.CreateAnd(x, b.CreateNot(y)) : b.CreateAnd(x, y);
  Value* none = b.CreateICmpEQ(y, zero(y));
  if (auto* c = llvm::dyn_cast<Constant>(y)) {
    if (c->isZeroValue()) return zero(x);
    const ConstantInt* k = llvm::dyn_cast<ConstantInt>(c->getType()->isVectorTy() ? c->getSplatValue() : c);
    if (k && k->getValue().isPowerOf2() && !k->getValue().isSignMask()) {
      const unsigned shift = k->getValue().logBase2();
      if (remainder) return b.CreateAnd(x, integer(x, (std::int64_t{1} << shift) - 1));
      return type == DType::u8 ? b.CreateLShr(x, shift) : b.CreateAShr(x, shift);
    }
  }
  if (type == DType::u8) {
    Value* divisor = b.CreateSelect(none, integer(y, 1), y);
    return b.CreateSelect(none, zero(x), remainder ? b.CreateURem(x, divisor) : b.CreateUDiv(x, divisor));
  }
  // -1 is left out of the division: the lowest integer by -1 traps.
  Value* minus = b.CreateICmpEQ(y, integer(y, -1));
  Value* divisor = b.CreateSelect(b.CreateOr(none, minus), integer(y, 1), y);
  Value* q = b.CreateSDiv(x, divisor);
  Value* r = b.CreateSub(x, b.CreateMul(q, divisor));
  Value* opposite = b.CreateICmpSLT(b.CreateXor(r, divisor), zero(r));
  Value* adjust = b.CreateAnd(b.CreateICmpNE(r, zero(r)), opposite);
  if (remainder) {
    Value* m = b.CreateSelect(adjust, b.CreateAdd(r, divisor), r);
    return b.CreateSelect(b.CreateOr(none, minus), zero(x), m);
  }
  Value* f = b.CreateSelect(adjust, b.CreateSub(q, integer(q, 1)), q);
  return b.CreateSelect(none, zero(x), b.CreateSelect(minus, b.CreateNeg(x), f));
}

/// Square and multiply; 0 ** 0 = 1, a negative exponent gives the truncated reciprocal (0, 1 or -1).
Value* integer_power(Builder& b, DType type, Value* x, Value* y) {
  Value* one = integer(x, 1);
  Value* base = x;
  Value* result = one;
  // x ** y for y >= 64 is decided by the low bits too, all of them take part.
  const unsigned bits = x->getType()->getScalarSizeInBits();
  const unsigned steps = type == DType::u8 ? 8 : bits - 1;
  for (unsigned i = 0; i < steps; ++i) {
    Value* set = b.CreateICmpNE(b.CreateAnd(y, b.CreateShl(one, i)), zero(y));
    result = b.CreateSelect(set, b.CreateMul(result, base), result);
    if (i + 1 < steps) base = b.CreateMul(base, base);
  }
  if (type == DType::u8) return result;
  Value* negative = b.CreateICmpSLT(y, zero(y));
  Value* unit = b.CreateICmpEQ(b.CreateAdd(x, one), b.CreateSelect(negative, zero(x), b.CreateAdd(x, one)));
  Value* odd = b.CreateICmpNE(b.CreateAnd(y, one), zero(y));
  Value* minus = b.CreateSelect(odd, integer(x, -1), one);
  Value* small = b.CreateSelect(b.CreateICmpEQ(x, one), one, b.CreateSelect(unit, minus, zero(x)));
  return b.CreateSelect(negative, small, result);
}

Value* compare(Builder& b, Op op, DType type, Value* x, Value* y) {
  using P = llvm::CmpInst;
  if (is_float(type)) {
    switch (op) {
      case Op::eq: return b.CreateFCmpOEQ(x, y);
      case Op::ne: return b.CreateFCmpUNE(x, y);
      case Op::lt: return b.CreateFCmpOLT(x, y);
      case Op::le: return b.CreateFCmpOLE(x, y);
      case Op::gt: return b.CreateFCmpOGT(x, y);
      default: return b.CreateFCmpOGE(x, y);
    }
  }
  const bool u = type == DType::u8 || type == DType::boolean;
  switch (op) {
    case Op::eq: return b.CreateICmpEQ(x, y);
    case Op::ne: return b.CreateICmpNE(x, y);
    case Op::lt: return b.CreateICmp(u ? P::ICMP_ULT : P::ICMP_SLT, x, y);
    case Op::le: return b.CreateICmp(u ? P::ICMP_ULE : P::ICMP_SLE, x, y);
    case Op::gt: return b.CreateICmp(u ? P::ICMP_UGT : P::ICMP_SGT, x, y);
    default: return b.CreateICmp(u ? P::ICMP_UGE : P::ICMP_SGE, x, y);
  }
}

Value* float_unary(Builder& b, const Target& target, Op op, Value* x) {
  Value* zero_value = zero(x);
  switch (op) {
    case Op::neg: return b.CreateFNeg(x);
    case Op::abs: return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
    case Op::sign: {
      Value* s = b.CreateSelect(b.CreateFCmpOGT(x, zero_value), real(x, 1), b.CreateSelect(b.CreateFCmpOLT(x, zero_value), real(x, -1), x));
      return s;  // zeros and NaN are themselves
    }
    case Op::relu: return b.CreateSelect(b.CreateFCmpOLT(x, zero_value), zero_value, x);
    case Op::floor: return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x);
    case Op::ceil: return b.CreateUnaryIntrinsic(llvm::Intrinsic::ceil, x);
    case Op::round: return b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, x);
    case Op::trunc: return b.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, x);
    case Op::sqrt: return b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x);
    case Op::isnan: return b.CreateFCmpUNO(x, x);
    case Op::isinf:
      return b.CreateFCmpOEQ(b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x), ConstantFP::getInfinity(x->getType()));
    case Op::isfinite:
      return b.CreateFCmpOLT(b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x), ConstantFP::getInfinity(x->getType()));
    default: return math_function(b, target, op, x);
  }
}

Value* integer_unary(Builder& b, DType type, Op op, Value* x) {
  const bool u = type == DType::u8 || type == DType::boolean;
  Value* none = zero(x);
  switch (op) {
    case Op::neg: return b.CreateNeg(x);
    case Op::abs: return u ? x : b.CreateSelect(b.CreateICmpSLT(x, none), b.CreateNeg(x), x);
    case Op::sign: {
      if (type == DType::boolean) return x;
      Value* positive = b.CreateSelect(b.CreateICmpNE(x, none), integer(x, 1), none);
      return u ? positive : b.CreateSelect(b.CreateICmpSLT(x, none), integer(x, -1), positive);
    }
    case Op::relu: return u ? x : b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, x, none);
    case Op::isnan:
    case Op::isinf: return ConstantInt::getFalse(shaped_like(b.getInt1Ty(), x->getType()));
    case Op::isfinite: return ConstantInt::getTrue(shaped_like(b.getInt1Ty(), x->getType()));
    default: return x;  // floor, ceil, round, trunc
  }
}

}  // namespace

Value* multiply_add(Builder& b, const Target& target, Value* x, Value* y, Value* z) {
  if (target.fma) return b.CreateIntrinsic(llvm::Intrinsic::fma, {x->getType()}, {x, y, z});
  return b.CreateFAdd(b.CreateFMul(x, y), z);
}

Value* extremum(Builder& b, DType type, bool maximum, Value* x, Value* y) {
  if (is_float(type)) {
    // `y` comes back where neither side wins, so a NaN in y stays; one in x is put back.
    Value* pick = b.CreateSelect(maximum ? b.CreateFCmpOGT(x, y) : b.CreateFCmpOLT(x, y), x, y);
    return b.CreateSelect(b.CreateFCmpUNO(x, x), x, pick);
  }
  if (type == DType::boolean) return maximum ? b.CreateOr(x, y) : b.CreateAnd(x, y);
  const bool u = type == DType::u8;
  const ID id = maximum ? (u ? llvm::Intrinsic::umax : llvm::Intrinsic::smax) : (u ? llvm::Intrinsic::umin : llvm::Intrinsic::smin);
  return b.CreateBinaryIntrinsic(id, x, y);
}

Value* elementwise(Builder& b, const Target& target, Op op, DType type, std::span<Value* const> args) {
  const bool real_type = is_float(type);
  Value* x = args[0];
  Value* y = args.size() > 1 ? args[1] : nullptr;
  switch (op) {
    case Op::where: return b.CreateSelect(args[0], args[1], args[2]);
    case Op::not_: return b.CreateNot(x);
    case Op::and_: return b.CreateAnd(x, y);
    case Op::or_: return b.CreateOr(x, y);
    case Op::eq: case Op::ne: case Op::lt: case Op::le: case Op::gt: case Op::ge: return compare(b, op, type, x, y);
    case Op::add: return real_type ? b.CreateFAdd(x, y) : b.CreateAdd(x, y);
    case Op::sub: return real_type ? b.CreateFSub(x, y) : b.CreateSub(x, y);
    case Op::mul: return real_type ? b.CreateFMul(x, y) : b.CreateMul(x, y);
    case Op::div: return real_type ? b.CreateFDiv(x, y) : floor_division(b, type, false, x, y);
    case Op::floordiv: return floor_division(b, type, false, x, y);
    case Op::mod: return floor_division(b, type, true, x, y);
    case Op::min: return extremum(b, type, false, x, y);
    case Op::max: return extremum(b, type, true, x, y);
    case Op::fma: return real_type ? multiply_add(b, target, x, y, args[2]) : b.CreateAdd(b.CreateMul(x, y), args[2]);
    case Op::pow: return real_type ? math_function(b, target, op, x, y) : integer_power(b, type, x, y);
    case Op::atan2: case Op::hypot: case Op::logaddexp: return math_function(b, target, op, x, y);
    default: return real_type ? float_unary(b, target, op, x) : integer_unary(b, type, op, x);
  }
}

}  // namespace quern::cpu
