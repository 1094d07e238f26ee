// Floating-point values with operators, for writing elementary functions as IR: `Real` is a value of f32 or f64, scalar
// or vector, with the integers of the same width beside it.
#pragma once

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <cstdint>

#include "compiler/codegen/cpu/elementwise.h"

namespace quern::cpu {

struct Math;

struct Real {
  const Math* m;
  llvm::Value* v;
};

/// The builder with the type that a function works in.
struct Math {
  Builder& b;
  const Target& target;
  llvm::Type* type;   // float or double, or a vector of them
  llvm::Type* words;  // integers of the same width
  bool wide;          // f64
  int mantissa;       // 23 or 52
  int bias;           // 127 or 1023

  Math(Builder& builder, const Target& t, llvm::Type* element_or_vector);

  Real of(llvm::Value* v) const { return {this, v}; }
  Real n(double v) const { return {this, llvm::ConstantFP::get(type, v)}; }
  llvm::Value* word(std::int64_t v) const { return llvm::ConstantInt::getSigned(words, v); }
  llvm::Value* bits(Real x) const { return b.CreateBitCast(x.v, words); }
  Real real(llvm::Value* w) const { return of(b.CreateBitCast(w, type)); }
  Real infinity() const { return of(llvm::ConstantFP::getInfinity(type)); }
  Real nan() const { return of(llvm::ConstantFP::getQNaN(type)); }

  Real fma(Real x, Real y, Real z) const { return of(multiply_add(b, target, x.v, y.v, z.v)); }
  Real abs(Real x) const { return of(b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x.v)); }
  Real sqrt(Real x) const { return of(b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x.v)); }
  Real round(Real x) const { return of(b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, x.v)); }
  Real copysign(Real x, Real sign) const { return of(b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, x.v, sign.v)); }
  Real pick(llvm::Value* c, Real x, Real y) const { return of(b.CreateSelect(c, x.v, y.v)); }
  llvm::Value* less(Real x, Real y) const { return b.CreateFCmpOLT(x.v, y.v); }
  llvm::Value* greater(Real x, Real y) const { return b.CreateFCmpOGT(x.v, y.v); }
  llvm::Value* equal(Real x, Real y) const { return b.CreateFCmpOEQ(x.v, y.v); }
  llvm::Value* is_nan(Real x) const { return b.CreateFCmpUNO(x.v, x.v); }
  llvm::Value* negative(Real x) const { return b.CreateICmpSLT(bits(x), word(0)); }
  /// Bounded above or below; NaN stays.
  Real at_most(Real x, double high) const { return pick(greater(x, n(high)), n(high), x); }
  Real at_least(Real x, double low) const { return pick(less(x, n(low)), n(low), x); }

  template <class T, std::size_t N>
  Real polynomial(const T (&c)[N], Real x) const {
    Real sum = n(c[N - 1]);
    for (std::size_t i = N - 1; i-- > 0;) sum = fma(sum, x, n(c[i]));
    return sum;
  }
  /// The f32 or the f64 table.
  template <std::size_t N, std::size_t M>
  Real polynomial(const float (&c32)[N], const double (&c64)[M], Real x) const {
    return wide ? polynomial(c64, x) : polynomial(c32, x);
  }
  /// x * y = product + error, exactly.
  Real product_error(Real x, Real y, Real product) const;
  /// x rounded to an integer, as a real and as a word (|x| below 2^22 or 2^51).
  struct Rounded {
    Real real;
    llvm::Value* word;
  };
  Rounded nearest(Real x) const;
  /// x * 2^n for |n| up to twice the exponent range, rounded once where the result is normal.
  Real scale(Real x, llvm::Value* n) const;
};

inline Real operator+(Real x, Real y) { return x.m->of(x.m->b.CreateFAdd(x.v, y.v)); }
inline Real operator-(Real x, Real y) { return x.m->of(x.m->b.CreateFSub(x.v, y.v)); }
inline Real operator*(Real x, Real y) { return x.m->of(x.m->b.CreateFMul(x.v, y.v)); }
inline Real operator/(Real x, Real y) { return x.m->of(x.m->b.CreateFDiv(x.v, y.v)); }
inline Real operator-(Real x) { return x.m->of(x.m->b.CreateFNeg(x.v)); }
inline Real operator+(Real x, double y) { return x + x.m->n(y); }
inline Real operator-(Real x, double y) { return x - x.m->n(y); }
inline Real operator*(Real x, double y) { return x * x.m->n(y); }
inline Real operator/(double x, Real y) { return y.m->n(x) / y; }
inline Real operator-(double x, Real y) { return y.m->n(x) - y; }

// math_exponential.cpp
Real exponential(Real x);
Real exponential2(Real x);
Real exponential_minus_1(Real x);
Real logarithm(Real x);
Real logarithm2(Real x);
Real logarithm_plus_1(Real x);
Real hyperbolic_tangent(Real x);
Real hyperbolic_sine(Real x);
Real hyperbolic_cosine(Real x);
Real logistic(Real x);
Real sigmoid_linear_unit(Real x);
Real softplus(Real x);
Real log_add_exp(Real x, Real y);
Real error_function(Real x);
Real gaussian_linear_unit(Real x);
Real power(Real x, Real y);
// math_trigonometric.cpp
Real sine(Real x);
Real cosine(Real x);
Real tangent(Real x);
Real arc_sine(Real x);
Real arc_cosine(Real x);
Real arc_tangent(Real x);
Real arc_tangent2(Real y, Real x);
Real cube_root(Real x);
Real hypotenuse(Real x, Real y);

}  // namespace quern::cpu
