// Circular functions, their inverses, roots. Arguments of sin, cos and tan are reduced by multiples of pi/2; f32 is
// computed through f64 where that is the simpler way to the last bits (math.cpp decides).
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Module.h>
#include <llvm/Transforms/Utils/BasicBlockUtils.h>

#include <cmath>
#include <string>

#include "compiler/codegen/cpu/math_coefficients.h"
#include "compiler/codegen/cpu/math_real.h"

namespace quern::cpu {

using llvm::Value;
namespace c = coefficients;

namespace {

constexpr double kHalfPi = 0x1.921fb54442d18p+0, kHalfPiLow = 0x1.1a62633145c07p-54;
constexpr double kPi = 2 * kHalfPi, kPiLow = 2 * kHalfPiLow;

struct Angle {
  Real r;         // in [-pi/4, pi/4]
  Value* quarter; // x = quarter * pi/2 + r
};

/// Any |x| by multiplication with 2/pi to as many digits as it takes (Payne and Hanek): x = M 2^E, and the digits whose
/// products with M are multiples of 4 are left out. f64 only.
Angle reduce_large_angle(Real x) {
  const Math& m = *x.m;
  llvm::Module& module = *m.b.GetInsertBlock()->getModule();
  llvm::GlobalVariable* table = module.getGlobalVariable("two_over_pi", true);
  if (!table) {
    llvm::Constant* digits = llvm::ConstantDataArray::get(m.b.getContext(), llvm::ArrayRef<double>(c::two_over_pi));
    table = new llvm::GlobalVariable(module, digits->getType(), true, llvm::GlobalValue::PrivateLinkage, digits, "two_over_pi");
  }
  Value* bits = m.bits(m.abs(x));
  Value* exponent = m.b.CreateSub(m.b.CreateLShr(bits, m.word(52)), m.word(1075));
  Real whole = m.real(m.b.CreateOr(m.b.CreateAnd(bits, m.word((std::int64_t{1} << 52) - 1)), m.word(std::int64_t{1075} << 52)));
  Real upper = m.real(m.b.CreateAnd(m.bits(whole), m.word(~((std::int64_t{1} << 26) - 1))));
  Real lower = whole - upper;
  // First digit that matters: floor((E - 2) / 24), not below 0 and not beyond the table for infinities.
  Value* digit = m.b.CreateAShr(m.b.CreateMul(m.b.CreateSub(exponent, m.word(2)), m.word(2731)), m.word(16));
  digit = m.b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, m.b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, digit, m.word(0)), m.word(41));
  exponent = m.b.CreateSub(exponent, m.b.CreateMul(digit, m.word(24)));
  Real high = m.n(0), low = m.n(0);
  for (int j = 0; j < 8; ++j) {
    Value* at = m.b.CreateGEP(m.b.getDoubleTy(), table, m.b.CreateAdd(digit, m.word(j)));
    Value* loaded = lanes_of(m.type) == 1 ? static_cast<Value*>(m.b.CreateLoad(m.type, at))
                                          : m.b.CreateMaskedGather(m.type, at, llvm::Align(8), nullptr, llvm::Constant::getNullValue(m.type));
    Real unit = m.real(m.b.CreateShl(m.b.CreateAdd(exponent, m.word(1023 - 24 * (j + 1))), m.word(52)));
    Real scaled = m.of(loaded) * unit;
    for (Real part : {upper, lower}) {
      Real p = part * scaled;              // exact: 27 bits times 24
      p = p - m.round(p * 0.25) * 4.0;     // exact, too
      Real sum = high + p;
      Real back = sum - high;
      low = low + ((high - (sum - back)) + (p - back));
      high = sum;
    }
  }
  const auto [n, quarter] = m.nearest(high);
  Real rest = high - n;
  Real top = rest + low;
  Real bottom = low - (top - rest);
  Real r = top * kHalfPi;
  r = r + (m.product_error(top, m.n(kHalfPi), r) + (top * kHalfPiLow + bottom * kHalfPi));
  Value* negative = m.negative(x);
  r = m.pick(m.less(m.abs(x), m.infinity()), m.pick(negative, -r, r), m.nan());
  return {r, m.b.CreateSelect(negative, m.b.CreateNeg(quarter), quarter)};
}

/// The same out of line, so that code which never sees such an angle stays short.
llvm::Function* large_angle_function(const Math& m) {
  llvm::Function* here = m.b.GetInsertBlock()->getParent();
  llvm::Module& module = *here->getParent();
  const std::string name = "large_angle_" + std::to_string(lanes_of(m.type));
  if (llvm::Function* known = module.getFunction(name)) return known;
  auto* pair = llvm::StructType::get(m.type, m.words);
  auto* type = llvm::FunctionType::get(pair, {m.type}, false);
  auto* function = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
  function->setDoesNotThrow();
  function->addFnAttr(llvm::Attribute::NoInline);
  for (const char* which : {"prefer-vector-width", "min-legal-vector-width"}) function->addFnAttr(here->getFnAttribute(which));
  Builder b(llvm::BasicBlock::Create(m.b.getContext(), "entry", function));
  const Math inner(b, m.target, m.type);
  const Angle a = reduce_large_angle(inner.of(function->getArg(0)));
  Value* both = b.CreateInsertValue(llvm::PoisonValue::get(pair), a.r.v, 0);
  b.CreateRet(b.CreateInsertValue(both, a.quarter, 1));
  return function;
}

/// pi/2 in pieces of 33 bits, so that a quarter count below 2^20 times a piece is exact; larger angles take the long way.
Angle reduce_small_angle(Real x);
Angle reduce_angle(Real x) {
  const Math& m = *x.m;
  Builder& b = m.b;
  const Angle small = reduce_small_angle(x);
  Value* large = b.CreateNot(b.CreateFCmpOLE(m.abs(x).v, m.n(0x1p20).v));
  Value* any = large->getType()->isVectorTy() ? b.CreateOrReduce(large) : large;
  llvm::Function* function = large_angle_function(m);
  llvm::Instruction* rest = &*b.GetInsertPoint();
  llvm::BasicBlock* before = b.GetInsertBlock();
  llvm::MDNode* cold = llvm::MDBuilder(b.getContext()).createBranchWeights(1, 1 << 20);
  llvm::Instruction* then = llvm::SplitBlockAndInsertIfThen(any, rest->getIterator(), false, cold);
  b.SetInsertPoint(then);
  Value* both = b.CreateCall(function, {x.v});
  Value* r = b.CreateSelect(large, b.CreateExtractValue(both, 0), small.r.v);
  Value* q = b.CreateSelect(large, b.CreateExtractValue(both, 1), small.quarter);
  b.SetInsertPoint(rest->getParent(), rest->getParent()->begin());
  auto* angle = b.CreatePHI(m.type, 2);
  auto* quarter = b.CreatePHI(m.words, 2);
  angle->addIncoming(small.r.v, before);
  angle->addIncoming(r, then->getParent());
  quarter->addIncoming(small.quarter, before);
  quarter->addIncoming(q, then->getParent());
  b.SetInsertPoint(rest);
  return {m.of(angle), quarter};
}

Angle reduce_small_angle(Real x) {
  const Math& m = *x.m;
  const auto [n, quarter] = m.nearest(x * 0x1.45f306dc9c883p-1);
  Real r = m.fma(-n, m.n(0x1.921fb544p+0), x);
  Real next = n * 0x1.0b4611a6p-34;
  Real high = r - next;
  Real low = ((r - high) - next) - n * 0x1.3198a2e037073p-69;
  return {high + low, quarter};
}

Real small_sine(Real r) {
  const Math& m = *r.m;
  Real z = r * r;
  return m.fma(r * z, m.polynomial(c::sin_f32, c::sin_f64, z), r);
}
Real small_cosine(Real r) {
  const Math& m = *r.m;
  Real z = r * r;
  Real h = z * 0.5;
  Real w = 1.0 - h;
  return w + (((1.0 - w) - h) + z * z * m.polynomial(c::cos_f32, c::cos_f64, z));
}

Value* bit(const Math& m, Value* w, std::int64_t which) { return m.b.CreateICmpNE(m.b.CreateAnd(w, m.word(which)), m.word(0)); }

/// asin(a) for 0 <= a <= 1/2.
Real small_arc_sine(Real a, Real z) {
  const Math& m = *a.m;
  return m.fma(a * z, m.polynomial(c::asin_f32, c::asin_f64, z), a);
}

/// atan(a) for 0 <= a <= 1.
Real unit_arc_tangent(Real a) {
  const Math& m = *a.m;
  Value* upper = m.greater(a, m.n(0x1.a827999fcef32p-2));  // tan(pi/8)
  Real t = m.pick(upper, (a - 1.0) / (a + 1.0), a);
  Real z = t * t;
  Real s = m.fma(t * z, m.polynomial(c::atan_f32, c::atan_f64, z), t);
  return m.pick(upper, s + kHalfPi / 2, s);
}

}  // namespace

Real sine(Real x) {
  const Math& m = *x.m;
  const Angle a = reduce_angle(x);
  Real v = m.pick(bit(m, a.quarter, 1), small_cosine(a.r), small_sine(a.r));
  v = m.pick(bit(m, a.quarter, 2), -v, v);
  return m.pick(m.equal(x, m.n(0)), x, v);
}

Real cosine(Real x) {
  const Math& m = *x.m;
  const Angle a = reduce_angle(x);
  Real v = m.pick(bit(m, a.quarter, 1), small_sine(a.r), small_cosine(a.r));
  Value* turned = m.b.CreateAdd(a.quarter, m.word(1));
  return m.pick(bit(m, turned, 2), -v, v);
}

Real tangent(Real x) {
  const Math& m = *x.m;
  const Angle a = reduce_angle(x);
  Real s = small_sine(a.r), k = small_cosine(a.r);
  Value* odd = bit(m, a.quarter, 1);
  return m.pick(m.equal(x, m.n(0)), x, m.pick(odd, -k, s) / m.pick(odd, s, k));
}

Real arc_sine(Real x) {
  const Math& m = *x.m;
  Real a = m.abs(x);
  Value* upper = m.greater(a, m.n(0.5));
  Real z = m.pick(upper, (1.0 - a) * 0.5, a * a);
  Real s = small_arc_sine(m.pick(upper, m.sqrt(z), a), z);
  return m.copysign(m.pick(upper, (kHalfPi - s * 2.0) + kHalfPiLow, s), x);
}

Real arc_cosine(Real x) {
  const Math& m = *x.m;
  Real a = m.abs(x);
  Value* upper = m.greater(a, m.n(0.5));
  Real z = m.pick(upper, (1.0 - a) * 0.5, a * a);
  Real s = small_arc_sine(m.pick(upper, m.sqrt(z), a), z);
  Value* left = m.less(x, m.n(0));
  Real outer = m.pick(left, kPi - (s * 2.0 - kPiLow), s * 2.0);
  Real inner = kHalfPi - (m.copysign(s, x) - kHalfPiLow);
  return m.pick(upper, outer, inner);
}

Real arc_tangent(Real x) {
  const Math& m = *x.m;
  Real a = m.abs(x);
  Value* outer = m.greater(a, m.n(1));
  Real t = unit_arc_tangent(m.pick(outer, 1.0 / a, a));
  return m.copysign(m.pick(outer, (kHalfPi - t) + kHalfPiLow, t), x);
}

Real arc_tangent2(Real y, Real x) {
  const Math& m = *x.m;
  Real ay = m.abs(y), ax = m.abs(x);
  Value* steep = m.greater(ay, ax);
  Real small = m.pick(steep, ax, ay), large = m.pick(steep, ay, ax);
  Real t = small / large;
  t = m.pick(m.equal(large, m.n(0)), m.n(0), t);
  t = m.pick(m.equal(small, m.infinity()), m.n(1), t);
  Real r = unit_arc_tangent(t);
  r = m.pick(steep, (kHalfPi - r) + kHalfPiLow, r);
  r = m.pick(m.negative(x), kPi - (r - kPiLow), r);
  r = m.copysign(r, y);
  return m.pick(m.b.CreateOr(m.is_nan(x), m.is_nan(y)), x + y, r);
}

Real cube_root(Real x) {
  // In f64. The exponent field divided by 3 gives 5 bits; Halley's iteration triples them.
  const Math& m = *x.m;
  Real a = m.abs(x);
  // At the ends of the range, where there is no exponent field or a cube overflows, a power of 8 is taken out.
  Value *tiny = m.less(a, m.n(0x1p-1022)), *huge = m.greater(a, m.n(0x1p1000));
  Real s = m.pick(tiny, a * 0x1p54, m.pick(huge, a * 0x1p-54, a));
  const double magic = 0x1.8p52;
  Value* high = m.b.CreateLShr(m.bits(s), m.word(32));
  Real h = m.real(m.b.CreateAdd(high, m.bits(m.n(magic)))) - magic;
  Value* guess = m.nearest(h * (1.0 / 3.0) + 715094163.0).word;
  Real y = m.real(m.b.CreateShl(guess, m.word(32)));
  for (int i = 0; i < 3; ++i) {
    Real cube = y * y * y;
    y = y - y * ((cube - s) / (cube * 2.0 + s));
  }
  // One step with the exact residual.
  Real square = y * y;
  Real error = m.product_error(y, y, square);
  Real cube = square * y;
  Real cube_error = m.product_error(square, y, cube) + error * y;
  y = y - ((cube - s) + cube_error) / (square * 3.0);
  y = m.pick(tiny, y * 0x1p-18, m.pick(huge, y * 0x1p18, y));
  Value* itself = m.b.CreateOr(m.b.CreateOr(m.equal(a, m.n(0)), m.equal(a, m.infinity())), m.is_nan(x));
  return m.pick(itself, x, m.copysign(y, x));
}

Real hypotenuse(Real x, Real y) {
  const Math& m = *x.m;
  Real ax = m.abs(x), ay = m.abs(y);
  Value* swap = m.greater(ay, ax);
  Real large = m.pick(swap, ay, ax), small = m.pick(swap, ax, ay);
  Real q = small / large;
  Real r = large * m.sqrt(m.fma(q, q, m.n(1)));
  r = m.pick(m.equal(large, m.n(0)), m.n(0), r);
  r = m.pick(m.b.CreateOr(m.is_nan(x), m.is_nan(y)), x + y, r);
  return m.pick(m.b.CreateOr(m.equal(ax, m.infinity()), m.equal(ay, m.infinity())), m.infinity(), r);
}

}  // namespace quern::cpu
