// exp, log and what is made of them. exp(x) = 2^n (1 + r + r^2 P(r)) with r = x - n log 2; log(2^k m) = k log 2 + log m
// with log m by the odd series in s = (m - 1) / (m + 1). Specials fall out of the arithmetic or of one select.
#include <cmath>

#include "compiler/codegen/cpu/math_coefficients.h"
#include "compiler/codegen/cpu/math_real.h"

namespace quern::cpu {

using llvm::Value;
namespace c = coefficients;

namespace {

constexpr double kLog2e = 0x1.71547652b82fep+0;
constexpr double kLn2 = 0x1.62e42fefa39efp-1;
// log 2 in two words: the high ones have trailing zeros, so that n times them is exact.
constexpr double kLn2High64 = 0x1.62e42feep-1, kLn2Low64 = 0x1.a39ef35793c76p-33;
constexpr double kLn2High32 = 0x1.62e4p-1, kLn2Low32 = 0x1.7f7d1cf79abcap-20;

/// AVX-512 has 2^floor(n) * x and x - floor(x) as instructions.
bool has_scalef(const Math& m) { return m.target.avx512 && !m.wide && lanes_of(m.type) == 16; }

Value* scalef(const Math& m, Value* x, Value* n) {
  return m.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_scalef_ps_512, {}, {x, n, x, m.b.getInt16(0xFFFF), m.b.getInt32(4)});
}

struct Reduced {
  Real r, n;
  Value* word;
};
/// x = n log 2 + r.
Reduced reduce(Real x) {
  const Math& m = *x.m;
  const auto [n, word] = m.nearest(x * kLog2e);
  Real r = m.fma(-n, m.n(m.wide ? kLn2High64 : kLn2High32), x);
  r = m.fma(-n, m.n(m.wide ? kLn2Low64 : kLn2Low32), r);
  return {r, n, word};
}

/// e^r - 1 for the reduced r.
Real small_expm1(Real r) {
  const Math& m = *r.m;
  return m.fma(r * r, m.polynomial(c::expm1_f32, c::expm1_f64, r), r);
}

/// x = 2^k m with m in [sqrt(1/2), sqrt(2)); k as a real. x is positive and normal after the caller's scaling.
struct Split {
  Real k, mantissa;
};
Split split(Real x) {
  const Math& m = *x.m;
  Real smallest = m.n(m.wide ? 0x1p-1022 : 0x1p-126);
  Value* tiny = m.less(x, smallest);
  Real scaled = m.pick(tiny, x * (m.wide ? 0x1p54 : 0x1p25), x);
  const std::int64_t half = m.wide ? 0x3FE6A09E667F3BCD : 0x3F3504F3;  // sqrt(1/2)
  Value* at = m.b.CreateSub(m.bits(scaled), m.word(half));
  Value* k = m.b.CreateAShr(at, m.word(m.mantissa));
  Value* rest = m.b.CreateAdd(m.b.CreateAnd(at, m.word((std::int64_t{1} << m.mantissa) - 1)), m.word(half));
  // A small integer to a real through the mantissa of a large one: no conversion of 64-bit integers is needed.
  const double magic = m.wide ? 0x1.8p52 : 0x1.8p23;
  Real kr = m.real(m.b.CreateAdd(k, m.bits(m.n(magic)))) - magic;
  kr = m.pick(tiny, kr - (m.wide ? 54.0 : 25.0), kr);
  return {kr, m.real(rest)};
}

/// log m = f - s (f - R), with f = m - 1.
struct LogParts {
  Real f, s, rest;
};
LogParts log_parts(Real f) {
  const Math& m = *f.m;
  Real s = f / (f + 2.0);
  Real z = s * s;
  return {f, s, z * m.polynomial(c::log_f32, c::log_f64, z)};
}

/// `result` for positive finite x; the right thing for 0, inf, NaN and negative x otherwise.
Real log_specials(Real x, Real result) {
  const Math& m = *x.m;
  result = m.pick(m.equal(x, m.infinity()), x, result);
  result = m.pick(m.less(x, m.n(0)), m.nan(), result);
  result = m.pick(m.equal(x, m.n(0)), -m.infinity(), result);
  return m.pick(m.is_nan(x), x, result);
}

/// log m + k log 2 with a correction to f that comes in late.
Real log_from(Real k, Real f, Real correction) {
  const Math& m = *f.m;
  const LogParts p = log_parts(f);
  Real low = m.fma(k, m.n(m.wide ? kLn2Low64 : kLn2Low32), correction);
  Real inner = m.fma(p.s, f - p.rest, -low);
  return m.fma(k, m.n(m.wide ? kLn2High64 : kLn2High32), f - inner);
}

}  // namespace

Math::Math(Builder& builder, const Target& t, llvm::Type* like)
    : b(builder), target(t), type(like), words(nullptr), wide(like->getScalarType()->isDoubleTy()), mantissa(wide ? 52 : 23),
      bias(wide ? 1023 : 127) {
  words = shaped_like(wide ? b.getInt64Ty() : b.getInt32Ty(), like);
}

Real Math::product_error(Real x, Real y, Real product) const {
  if (target.fma) return fma(x, y, -product);
  // Halves whose products are exact.
  const double splitter = wide ? 0x1.000002p27 : 0x1.002p12;
  auto halves = [&](Real v, Real* high, Real* low) {
    Real t = v * splitter;
    *high = t - (t - v);
    *low = v - *high;
  };
  Real xh{}, xl{}, yh{}, yl{};
  halves(x, &xh, &xl);
  halves(y, &yh, &yl);
  return ((xh * yh - product) + xh * yl + xl * yh) + xl * yl;
}

Math::Rounded Math::nearest(Real x) const {
  const double magic = wide ? 0x1.8p52 : 0x1.8p23;
  Real shifted = x + magic;
  return {shifted - magic, b.CreateSub(bits(shifted), bits(n(magic)))};
}

Real Math::scale(Real x, Value* n) const {
  // Two factors, each a normal power of two.
  Value* half = b.CreateAShr(n, word(1));
  auto power_of_2 = [&](Value* e) { return real(b.CreateShl(b.CreateAdd(e, word(bias)), word(mantissa))); };
  return (x * power_of_2(half)) * power_of_2(b.CreateSub(n, half));
}

namespace {
/// e^x as p * 2^n, with n left apart: a factor may join p before a small result is rounded.
struct Scaled {
  Real p;
  Value* n;  // a real where scalef takes it, else a word
};
Scaled scaled_exponential(Real x) {
  const Math& m = *x.m;
  x = m.at_least(m.at_most(x, m.wide ? 709.9 : 89.0), m.wide ? -800.0 : -120.0);
  if (has_scalef(m)) {
    Real n = m.round(x * kLog2e);
    Real r = m.fma(-n, m.n(kLn2High32), x);
    r = m.fma(-n, m.n(kLn2Low32), r);
    return {small_expm1(r) + 1.0, n.v};
  }
  const Reduced d = reduce(x);
  return {small_expm1(d.r) + 1.0, d.word};
}
Real finished(const Scaled& s, Real p) {
  const Math& m = *p.m;
  return has_scalef(m) ? m.of(scalef(m, p.v, s.n)) : m.scale(p, s.n);
}
}  // namespace

Real exponential(Real x) {
  const Scaled s = scaled_exponential(x);
  return finished(s, s.p);
}

Real exponential2(Real x) {
  const Math& m = *x.m;
  if (has_scalef(m)) {
    // x - floor(x), exact, 0 for infinities: 2^x = 2^floor(x) p(x - floor(x)) without a clamp.
    Value* r = m.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_reduce_ps_512, {},
                                   {x.v, m.b.getInt32(9), x.v, m.b.getInt16(0xFFFF), m.b.getInt32(4)});
    return m.of(scalef(m, m.polynomial(c::exp2_floor_f32, m.of(r)).v, x.v));
  }
  x = m.at_least(m.at_most(x, m.wide ? 1025.0 : 129.0), m.wide ? -1080.0 : -155.0);
  const auto [n, word] = m.nearest(x);
  Real r = x - n;
  if (!m.wide) return m.scale(m.polynomial(c::exp2_round_f32, r), word);
  // 2^r = e^(r log 2), the product in two words.
  Real high = r * kLn2;
  Real low = m.product_error(r, m.n(kLn2), high) + r * 0x1.abc9e3b39803fp-56;
  Real e = small_expm1(high);
  return m.scale(e + m.fma(low, e, low) + 1.0, word);
}

Real exponential_minus_1(Real x) {
  const Math& m = *x.m;
  Real y = m.at_least(m.at_most(x, m.wide ? 709.9 : 89.0), m.wide ? -40.0 : -20.0);
  const Reduced d = reduce(y);
  Real e = small_expm1(d.r);
  // 2 (2^(n-1) e + (2^(n-1) - 1/2)): the factor stays in range up to the largest result.
  Real p = m.real(m.b.CreateShl(m.b.CreateAdd(d.word, m.word(m.bias - 1)), m.word(m.mantissa)));
  Real result = m.fma(p, e, p - 0.5) * 2.0;
  return m.pick(m.equal(x, m.n(0)), x, result);
}

Real logarithm(Real x) {
  const Math& m = *x.m;
  const Split s = split(x);
  return log_specials(x, log_from(s.k, s.mantissa - 1.0, m.n(0)));
}

Real logarithm2(Real x) {
  const Math& m = *x.m;
  const Split s = split(x);
  const LogParts p = log_parts(s.mantissa - 1.0);
  // log m in two words times log2 e, then k: the sum loses nothing near 1.
  Real product = p.s * (p.f - p.rest);
  Real high = p.f - product;
  Real low = (p.f - high) - product;
  const double head = m.wide ? kLog2e : static_cast<double>(static_cast<float>(kLog2e));
  const double tail = m.wide ? 0x1.777d0ffda0d24p-56 : kLog2e - static_cast<double>(static_cast<float>(kLog2e));
  Real scaled = high * head;
  Real rest = m.product_error(high, m.n(head), scaled) + m.fma(high, m.n(tail), low * head);
  return log_specials(x, s.k + (scaled + rest));
}

Real logarithm_plus_1(Real x) {
  const Math& m = *x.m;
  Real u = x + 1.0;
  const Split s = split(u);
  // What 1 + x lost, relative to u. Without a power of two taken out, f is x itself.
  Real lost = (m.pick(m.greater(x, m.n(1)), 1.0 - (u - x), x - (u - 1.0))) / u;
  Value* plain = m.equal(s.k, m.n(0));
  Real f = m.pick(plain, x, s.mantissa - 1.0);
  Real result = log_specials(u, log_from(s.k, f, m.pick(plain, m.n(0), lost)));
  return m.pick(m.equal(x, m.n(0)), x, result);
}

Real hyperbolic_tangent(Real x) {
  const Math& m = *x.m;
  Real a = m.at_most(m.abs(x), m.wide ? 22.0 : 10.0);
  Real t = exponential_minus_1(a * 2.0);
  return m.copysign(t / (t + 2.0), x);
}

namespace {
/// e^|x| / 2 where |x| is large, without overflow before its time.
Real half_exponential(Real a) {
  Real w = exponential(a * 0.5);
  return (w * 0.5) * w;
}
}  // namespace

Real hyperbolic_sine(Real x) {
  const Math& m = *x.m;
  Real a = m.abs(x);
  Value* large = m.greater(a, m.n(m.wide ? 22.0 : 10.0));
  Real t = exponential_minus_1(m.at_most(a, m.wide ? 22.0 : 10.0));
  Real small = (t + t / (t + 1.0)) * 0.5;
  return m.copysign(m.pick(large, half_exponential(a), small), x);
}

Real hyperbolic_cosine(Real x) {
  const Math& m = *x.m;
  Real a = m.abs(x);
  Value* large = m.greater(a, m.n(m.wide ? 22.0 : 10.0));
  Real t = exponential(m.at_most(a, m.wide ? 22.0 : 10.0));
  return m.pick(large, half_exponential(a), (t + 1.0 / t) * 0.5);
}

Real logistic(Real x) {
  const Math& m = *x.m;
  Real e = exponential(-m.abs(x));
  Real one = m.n(1);
  // For x below 0: e / (1 + e), which keeps small results.
  return m.pick(m.less(x, m.n(0)), e, one) / (e + 1.0);
}

Real sigmoid_linear_unit(Real x) {
  const Math& m = *x.m;
  const Scaled s = scaled_exponential(-m.abs(x));
  Real e = finished(s, s.p);
  // x e for x below 0, rounded once: e alone may be subnormal. -inf gives -0.
  Real small = finished(s, s.p * m.at_least(x, m.wide ? -1e4 : -1e3));
  return m.pick(m.less(x, m.n(0)), small, x) / (e + 1.0);
}

Real softplus(Real x) {
  const Math& m = *x.m;
  return m.pick(m.greater(x, m.n(0)), x, m.n(0)) + logarithm_plus_1(exponential(-m.abs(x)));
}

Real log_add_exp(Real x, Real y) {
  const Math& m = *x.m;
  Real high = m.of(extremum(m.b, m.wide ? DType::f64 : DType::f32, true, x.v, y.v));
  Real apart = m.pick(m.equal(x, y), m.n(0), m.abs(x - y));  // equal infinities are no distance apart
  Real result = high + logarithm_plus_1(exponential(-apart));
  return m.pick(m.is_nan(apart), m.of(m.b.CreateFAdd(x.v, y.v)), result);
}

namespace {
/// erfc(a) for a >= 1/2: e^(-a^2) times a smooth function. a^2 is factor * x^2, in two words, so that a large exponent
/// does not magnify the rounding of a.
Real complement(Real a, Real x, double factor) {
  const Math& m = *a.m;
  const double last = m.wide ? 27.5 : 10.3;
  a = m.at_most(a, last);
  x = m.at_most(m.abs(x), last / std::sqrt(factor));
  Real t = (a - 2.0) / (a + 2.0);
  Real square = x * x;
  Real lost = m.product_error(x, x, square) * factor;
  Real e = exponential(square * -factor);
  e = m.fma(e, -lost, e);
  return e * m.polynomial(c::erfcx_f32, c::erfcx_f64, t);
}
}  // namespace

Real error_function(Real x) {
  const Math& m = *x.m;
  Real a = m.abs(x);
  Value* inner = m.less(a, m.n(1));
  Real small = x * m.polynomial(c::erf_f32, c::erf_f64, m.at_most(x * x, 1.0));
  Real large = m.copysign(1.0 - complement(m.at_least(a, 1.0), m.at_least(a, 1.0), 1.0), x);
  return m.pick(inner, small, large);
}

Real gaussian_linear_unit(Real x) {
  const Math& m = *x.m;
  // x (1 + erf(x / sqrt 2)) / 2; below -1/2 through erfc, whose relative error stays small.
  Real y = x * 0x1.6a09e667f3bcdp-1;
  Real a = m.abs(y);
  Value* inner = m.less(a, m.n(0.5));
  Real e = y * m.polynomial(c::erf_f32, c::erf_f64, m.at_most(y * y, 1.0));
  Real tail = complement(m.at_least(a, 0.5), x, 0.5);
  Real outer = m.pick(m.less(y, m.n(0)), tail, 2.0 - tail);
  Real result = (x * 0.5) * m.pick(inner, e + 1.0, outer);
  return m.pick(m.equal(x, -m.infinity()), m.n(-0.0), result);
}

Real power(Real x, Real y) {
  const Math& m = *x.m;
  Real a = m.abs(x);
  const Split s = split(a);
  // log a in two words: k log 2 + 2 s + s R, s = f / (2 + f) with its own error.
  Real f = s.mantissa - 1.0;
  Real divisor = f + 2.0;
  Real divisor_low = (2.0 - divisor) + f;
  Real q = f / divisor;
  Real back = q * divisor;
  Real q_low = ((f - back) - m.product_error(q, divisor, back) - q * divisor_low) / divisor;
  Real z = q * q;
  Real tail = q * (z * m.polynomial(c::log_f32, c::log_f64, z));
  Real k_high = s.k * kLn2High64;
  Real twice = q * 2.0;
  Real high = k_high + twice;
  Real carry = m.pick(m.greater(m.abs(k_high), m.abs(twice)), twice - (high - k_high), k_high - (high - twice));
  Real low = carry + (tail + (q_low * 2.0 + s.k * kLn2Low64));
  Real sum = high + low;
  low = low - (sum - high);
  // y log a, then e to it. Beyond 2^100 more of y says nothing more, and its halves would overflow.
  Real far = m.n(0x1p100);
  Real t = m.pick(m.less(m.abs(y), far), y, m.copysign(far, y));
  Real p = sum * t;
  Real p_low = m.product_error(sum, t, p) + low * t;
  Value* calm = m.less(m.abs(p), m.n(1e6));
  p_low = m.pick(calm, p_low, m.n(0));
  Real e = exponential(p);
  Real finite = m.pick(m.less(e, m.infinity()), m.fma(e, p_low, e), e);
  // Signs and the cases where the logarithm says nothing.
  Value* whole = m.equal(m.round(y), y);
  Real half = y * 0.5;
  Value* odd = m.b.CreateAnd(whole, m.b.CreateNot(m.equal(m.round(half), half)));
  Real zero = m.n(0), one = m.n(1);
  Value* below = m.less(y, zero);
  Real result = finite;
  result = m.pick(m.equal(a, zero), m.pick(below, m.infinity(), zero), result);
  result = m.pick(m.equal(a, m.infinity()), m.pick(below, zero, m.infinity()), result);
  Value* y_infinite = m.equal(m.abs(y), m.infinity());
  Value* grows = m.b.CreateICmpEQ(m.greater(a, one), m.greater(y, zero));
  result = m.pick(y_infinite, m.pick(m.equal(a, one), one, m.pick(grows, m.infinity(), zero)), result);
  result = m.pick(m.b.CreateAnd(m.negative(x), odd), -result, result);
  Value* imaginary = m.b.CreateAnd(m.less(x, zero), m.b.CreateNot(whole));
  imaginary = m.b.CreateAnd(imaginary, m.b.CreateNot(m.b.CreateOr(y_infinite, m.equal(a, m.infinity()))));
  result = m.pick(imaginary, m.nan(), result);
  result = m.pick(m.b.CreateOr(m.is_nan(x), m.is_nan(y)), x + y, result);
  return m.pick(m.b.CreateOr(m.equal(y, zero), m.equal(x, one)), one, result);
}

}  // namespace quern::cpu
