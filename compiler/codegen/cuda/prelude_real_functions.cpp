// Prelude: operators on f32 and f64 that CUDA has no function for, or none that is fast or exact enough. The others are
// called by their CUDA names from elementwise.cpp, where the table of errors stands.
//
// Error budgets below are in ulps, against compiler/interpreter/error_rules.def. e^x appears in two forms: exp_f32
// rounds its argument once (allowed for exp alone: 2 roundings of the argument), expf is within 1 ulp as it stands.
// Polynomials: tools/coefficients/fit.py cuda.
#include "compiler/codegen/cuda/prelude.h"

namespace quern::cuda::device {

std::string_view real_functions() {
  return R"(QUERN_INLINE float exp_f32(float x) { return ex2(x * 1.44269504f); }

QUERN_INLINE bool isnan_f32(float x) { return x != x; }
QUERN_INLINE bool isnan_f64(double x) { return x != x; }
QUERN_INLINE double max_f64(double x, double y) { return x > y || x != x ? x : y; }
QUERN_INLINE double min_f64(double x, double y) { return x < y || x != x ? x : y; }
QUERN_INLINE float relu_f32(float x) { return max_f32(x, 0.0f); }
QUERN_INLINE double relu_f64(double x) { return x < 0.0 ? 0.0 : x; }
QUERN_INLINE float sign_f32(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
QUERN_INLINE double sign_f64(double x) { return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x; }

// 1 / (1 + e^-x) for x >= 0, e^x / (1 + e^x) below, which keeps small results. exp 1, sum 1/2, reciprocal 1, product 1/2.
QUERN_INLINE float sigmoid_f32(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) * reciprocal(1.0f + e);
}
QUERN_INLINE double sigmoid_f64(double x) {
  const double e = exp(-fabs(x));
  return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

// x sigmoid(x). Far below zero e^x alone would be subnormal: e^(x + 32) and x e^-32 are not, their product rounds once.
// -inf gives -0.
QUERN_INLINE float silu_f32(float x) {
  const bool far = x < -80.0f;
  x = x < -1000.0f ? -1000.0f : x;
  const float e = expf(far ? x + 32.0f : -fabsf(x));
  const float factor = far ? x * 1.26641655e-14f : x;
  return (x < 0.0f ? factor * e : x) * reciprocal(1.0f + e);
}
QUERN_INLINE double silu_f64(double x) {
  const bool far = x < -700.0;
  x = x < -10000.0 ? -10000.0 : x;
  const double e = exp(far ? x + 64.0 : -fabs(x));
  const double factor = far ? x * 1.6038108905486379e-28 : x;
  return (x < 0.0 ? factor * e : x) / (1.0 + e);
}

// tanh(x) / x by x^2 for |x| <= 0.55, without the special function unit. Polynomial 3.5e-8 of it, sum 1/2, product 1/2; keeps -0.
QUERN_INLINE float tanh_small_f32(float x) {
  const float t = x * x;
  float p = fmaf(t, 0.0164598115f, -0.0526848026f);
  p = fmaf(t, p, 0.133209541f);
  p = fmaf(t, p, -0.333329588f);
  return x * fmaf(t, p, 1.0f);
}

// x (1 + erf(x / sqrt 2)) / 2 = max(x, 0) - |x| h, where h = erfc(|x| / sqrt 2) / 2 = 2^P(|x|). The error of h is below
// 1e-8 for P and 2 ulps for ex2, a part of |x| as the rule has it. h is 0 from 10 on. Infinities give inf and 0.
QUERN_INLINE float gelu_f32(float x) {
  const float a = fminf(fabsf(x), 16.0f);
  float p = fmaf(a, -2.77175582e-06f, 3.86177126e-05f);
  p = fmaf(a, p, -0.000182535427f);
  p = fmaf(a, p, -0.000145894242f);
  p = fmaf(a, p, 0.00707549602f);
  p = fmaf(a, p, -0.0525050387f);
  p = fmaf(a, p, -0.459204912f);
  p = fmaf(a, p, -1.15110576f);
  p = fmaf(a, p, -1.0f);
  return fmaf(-a, ex2_flushed(p), max_f32(x, 0.0f));
}
// -inf gives -0 here.
QUERN_INLINE double gelu_f64(double x) {
  const double weight = fma(0.5, erf(x * 0.70710678118654752), 0.5);
  return fmax(x, -1.0e308) * weight;
}

// high + log(1 + t) for 0 <= t <= 1, by the ratio log(1 + t) / t: error below 1e-8. exp 1, ratio 1, sum 1/2.
QUERN_INLINE float add_log1p_f32(float high, float t) {
  float p = fmaf(t, -0.00324397534f, 0.0198512394f);
  p = fmaf(t, p, -0.0569591224f);
  p = fmaf(t, p, 0.106036134f);
  p = fmaf(t, p, -0.153055683f);
  p = fmaf(t, p, 0.196759313f);
  p = fmaf(t, p, -0.249541312f);
  p = fmaf(t, p, 0.333299637f);
  p = fmaf(t, p, -0.499999017f);
  p = fmaf(t, p, 1.0f);
  return fmaf(t, p, high);
}
QUERN_INLINE float softplus_f32(float x) { return add_log1p_f32(fmaxf(x, 0.0f), expf(-fabsf(x))); }
QUERN_INLINE double softplus_f64(double x) { return fmax(x, 0.0) + log1p(exp(-fabs(x))); }

// Equal infinities are no distance apart.
QUERN_INLINE float logaddexp_f32(float x, float y) {
  const float apart = x == y ? 0.0f : fabsf(x - y);
  return add_log1p_f32(max_f32(x, y), expf(-apart));
}
QUERN_INLINE double logaddexp_f64(double x, double y) {
  const double apart = x == y ? 0.0 : fabs(x - y);
  return max_f64(x, y) + log1p(exp(-apart));
}

// CUDA's pow(3, 1) is not 3; the language has x ** 1 exact.
QUERN_INLINE float pow_f32(float x, float y) { return y == 1.0f ? x : powf(x, y); }
QUERN_INLINE double pow_f64(double x, double y) { return y == 1.0 ? x : pow(x, y); }

// Both sides are scaled by a power of two that brings the larger one near 1. Sum of squares 3/4, its root 3/8 + 1/2.
QUERN_INLINE float hypot_f32(float x, float y) {
  const float a = fabsf(x), b = fabsf(y);
  if (!(a < infinity_f32() && b < infinity_f32())) return a == infinity_f32() || b == infinity_f32() ? infinity_f32() : x + y;
  const u32 exponent = __float_as_uint(a > b ? a : b) >> 23, up = exponent < 1u ? 1u : exponent > 253u ? 253u : exponent;
  const float scale = __uint_as_float((254u - up) << 23), u = a * scale, v = b * scale;
  return sqrtf(a > b ? fmaf(u, u, v * v) : fmaf(v, v, u * u)) * __uint_as_float(up << 23);
}

)";
}

}  // namespace quern::cuda::device
