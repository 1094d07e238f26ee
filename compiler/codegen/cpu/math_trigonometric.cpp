// Circular functions, their inverses, roots. Arguments of sin, cos and tan are reduced by multiples of pi/2; f32 is
// computed through f64 where that is the simpler way to the last bits (math.cpp decides).
#include <cmath>

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

/// pi/2 in pieces of 33 bits, so that a quarter count below 2^20 times a piece is exact.
Angle reduce_angle(Real x) {
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
  Value* tiny = m.less(a, m.n(0x1p-1022));
  Real s = m.pick(tiny, a * 0x1p54, a);
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
  y = m.pick(tiny, y * 0x1p-18, y);
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
