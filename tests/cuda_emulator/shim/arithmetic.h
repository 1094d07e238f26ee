// CUDA's functions on numbers, by the host's mathematical library, which is at least as exact.
#pragma once

#define QUERN_UNARY(name)                                   \
  extern "C" double name(double) noexcept;                  \
  extern "C" float name##f(float) noexcept;                 \
  inline float name(float x) { return name##f(x); }
#define QUERN_BINARY(name)                                  \
  extern "C" double name(double, double) noexcept;          \
  extern "C" float name##f(float, float) noexcept;          \
  inline float name(float x, float y) { return name##f(x, y); }
QUERN_UNARY(fabs) QUERN_UNARY(floor) QUERN_UNARY(ceil) QUERN_UNARY(rint) QUERN_UNARY(round) QUERN_UNARY(trunc) QUERN_UNARY(nearbyint)
QUERN_UNARY(exp) QUERN_UNARY(exp2) QUERN_UNARY(expm1) QUERN_UNARY(log) QUERN_UNARY(log2) QUERN_UNARY(log10) QUERN_UNARY(log1p)
QUERN_UNARY(sqrt) QUERN_UNARY(cbrt) QUERN_UNARY(sin) QUERN_UNARY(cos) QUERN_UNARY(tan) QUERN_UNARY(asin) QUERN_UNARY(acos) QUERN_UNARY(atan)
QUERN_UNARY(sinh) QUERN_UNARY(cosh) QUERN_UNARY(tanh) QUERN_UNARY(asinh) QUERN_UNARY(acosh) QUERN_UNARY(atanh)
QUERN_UNARY(erf) QUERN_UNARY(erfc) QUERN_UNARY(lgamma) QUERN_UNARY(tgamma)
QUERN_BINARY(fmin) QUERN_BINARY(fmax) QUERN_BINARY(fmod) QUERN_BINARY(pow) QUERN_BINARY(atan2) QUERN_BINARY(hypot) QUERN_BINARY(copysign)
QUERN_BINARY(remainder) QUERN_BINARY(nextafter)
#undef QUERN_UNARY
#undef QUERN_BINARY
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrtf(float x) { return static_cast<float>(1.0 / sqrt(static_cast<double>(x))); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float exp10f(float x) { return static_cast<float>(__builtin_exp10(static_cast<double>(x))); }

// Bits.
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
inline int __double2loint(double x) { return static_cast<int>(__double_as_longlong(x)); }
inline int __double2hiint(double x) { return static_cast<int>(__double_as_longlong(x) >> 32); }
inline double __hiloint2double(int high, int low) {
  return __longlong_as_double(static_cast<long long>(static_cast<unsigned long long>(static_cast<unsigned>(high)) << 32 | static_cast<unsigned>(low)));
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1u) << (31 - i);
  return y;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned pick) {
  const unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned selector = pick >> (4 * i);
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (selector & 7u))) & 0xffu;
    if (selector & 8u) byte = byte & 0x80u ? 0xffu : 0u;
    result |= byte << (8 * i);
  }
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) { return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) << (by & 31u) >> 32); }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) { return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (by & 31u)); }

// Integers.
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>(static_cast<unsigned long long>(x) * y >> 32); }
inline int __mulhi(int x, int y) { return static_cast<int>(static_cast<long long>(x) * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) { return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64); }
inline long long __mul64hi(long long x, long long y) { return static_cast<long long>(static_cast<__int128>(x) * y >> 64); }
#define QUERN_EXTREMES(type)                                      \
  inline type min(type x, type y) { return x < y ? x : y; }       \
  inline type max(type x, type y) { return x > y ? x : y; }
QUERN_EXTREMES(int)
QUERN_EXTREMES(unsigned)
QUERN_EXTREMES(long)
QUERN_EXTREMES(unsigned long)
QUERN_EXTREMES(long long)
QUERN_EXTREMES(unsigned long long)
#undef QUERN_EXTREMES
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }
inline int abs(int x) { return x < 0 ? static_cast<int>(0u - static_cast<unsigned>(x)) : x; }
inline long long abs(long long x) { return x < 0 ? static_cast<long long>(0ull - static_cast<unsigned long long>(x)) : x; }
inline long long llabs(long long x) { return abs(x); }
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }
inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }
inline bool signbit(float x) { return __builtin_signbit(x); }
inline bool signbit(double x) { return __builtin_signbit(x); }

// The fast forms, without their larger errors.
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

// Rounded to nearest: what the compiler may not contract.
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline double __drcp_rn(double x) { return 1.0 / x; }

// Floats to integers saturate. NaN: 0 for 32 bits, the lowest integer for 64, as the instructions give it.
namespace quern_emulated {
template <class T>
inline T saturated(double x, double low, double past, T lowest, T highest, T nan) {
  return x != x ? nan : x < low ? lowest : x >= past ? highest : static_cast<T>(x);
}
inline int to_int(double x) { return saturated<int>(x, -0x1p31, 0x1p31, -0x7fffffff - 1, 0x7fffffff, 0); }
inline unsigned to_uint(double x) { return saturated<unsigned>(x, 0, 0x1p32, 0u, 0xffffffffu, 0u); }
inline long long to_ll(double x) { return saturated<long long>(x, -0x1p63, 0x1p63, -0x7fffffffffffffffll - 1, 0x7fffffffffffffffll, -0x7fffffffffffffffll - 1); }
inline unsigned long long to_ull(double x) { return saturated<unsigned long long>(x, 0, 0x1p64, 0ull, ~0ull, 1ull << 63); }
/// Toward zero.
inline float truncated(double x) {
  const float y = static_cast<float>(x);
  if (y != y || (__builtin_isinf(y) && __builtin_isinf(x))) return y;
  return fabs(static_cast<double>(y)) > fabs(x) ? __uint_as_float(__float_as_uint(y) - 1u) : y;
}
}  // namespace quern_emulated
#define QUERN_TO_INTEGERS(from, type)                                                                      \
  inline int from##2int_rz(type x) { return quern_emulated::to_int(trunc(double(x))); }                    \
  inline int from##2int_rn(type x) { return quern_emulated::to_int(rint(double(x))); }                     \
  inline int from##2int_rd(type x) { return quern_emulated::to_int(floor(double(x))); }                    \
  inline int from##2int_ru(type x) { return quern_emulated::to_int(ceil(double(x))); }                     \
  inline unsigned from##2uint_rz(type x) { return quern_emulated::to_uint(trunc(double(x))); }             \
  inline unsigned from##2uint_rn(type x) { return quern_emulated::to_uint(rint(double(x))); }              \
  inline long long from##2ll_rz(type x) { return quern_emulated::to_ll(trunc(double(x))); }                \
  inline long long from##2ll_rn(type x) { return quern_emulated::to_ll(rint(double(x))); }                 \
  inline long long from##2ll_rd(type x) { return quern_emulated::to_ll(floor(double(x))); }                \
  inline unsigned long long from##2ull_rz(type x) { return quern_emulated::to_ull(trunc(double(x))); }
QUERN_TO_INTEGERS(__float, float)
QUERN_TO_INTEGERS(__double, double)
#undef QUERN_TO_INTEGERS
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline double __int2double_rn(int x) { return x; }
inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline float __double2float_rz(double x) { return quern_emulated::truncated(x); }
inline float __int2float_rz(int x) { return quern_emulated::truncated(x); }
inline float __ll2float_rz(long long x) {
  const unsigned long long size = x < 0 ? 0ull - static_cast<unsigned long long>(x) : static_cast<unsigned long long>(x);
  const int drop = 40 - __clzll(static_cast<long long>(size));  // bits beyond 24
  const float y = static_cast<float>(drop > 0 ? size >> drop << drop : size);
  return x < 0 ? -y : y;
}
