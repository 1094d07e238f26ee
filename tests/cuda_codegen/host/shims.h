// CUDA's words and intrinsics for the host, so that the printed texts run there. Only what the prelude uses; the inline
// PTX of prelude_instructions.cpp is replaced at the end. Single-threaded: atomics are plain.
#pragma once

#include <math.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "dsl/ir/dtype.h"

#define __device__
#define __forceinline__ inline
#define __noinline__

namespace {

inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }

/// The nearest f32, moved toward zero where it is beyond `exact`.
template <class T>
float truncated(T exact) {
  const float nearest = static_cast<float>(exact);
  const bool beyond = std::fabs(static_cast<long double>(nearest)) > std::fabs(static_cast<long double>(exact));
  return beyond ? std::nextafter(nearest, 0.0f) : nearest;
}
inline float __double2float_rz(double x) { return std::isfinite(x) ? truncated(x) : static_cast<float>(x); }
inline float __ll2float_rz(long long x) { return truncated(x); }
inline float __int2float_rz(int x) { return truncated(x); }

/// cvt.rzi: saturates. For NaN as the hardware: 0 from f32 to 32 bits, else the lowest integer.
template <class I, class F>
I truncated_to(F x) {
  if (x != x) return sizeof(I) == 4 && sizeof(F) == 4 ? 0 : std::numeric_limits<I>::min();
  const F above = std::ldexp(F(1), 8 * sizeof(I) - 1);
  return x >= above ? std::numeric_limits<I>::max() : x < -above ? std::numeric_limits<I>::min() : static_cast<I>(x);
}
inline int __float2int_rz(float x) { return truncated_to<int>(x); }
inline long long __float2ll_rz(float x) { return truncated_to<long long>(x); }
inline int __double2int_rz(double x) { return truncated_to<int>(x); }
inline long long __double2ll_rz(double x) { return truncated_to<long long>(x); }

inline float rsqrtf(float x) { return static_cast<float>(1 / std::sqrt(static_cast<double>(x))); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }

inline void __threadfence() {}
template <class T>
T atomicCAS(T* at, T expected, T wanted) {
  const T old = *at;
  if (old == expected) *at = wanted;
  return old;
}
template <class T>
T atomicExch(T* at, T wanted) { const T old = *at; *at = wanted; return old; }
template <class T>
T atomicAdd(T* at, T x) { const T old = *at; *at = old + x; return old; }
inline int atomicAdd(int* at, int x) { const int old = *at; *at = static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(x)); return old; }
template <class T>
T atomicMax(T* at, T x) { const T old = *at; *at = old > x ? old : x; return old; }
template <class T>
T atomicMin(T* at, T x) { const T old = *at; *at = old < x ? old : x; return old; }

// In place of the inline PTX.
inline float ex2(float x) { return static_cast<float>(std::exp2(static_cast<double>(x))); }
inline float ex2_flushed(float x) { const float y = ex2(x); return y < 0x1p-126f ? 0.0f : y; }
inline float reciprocal(float x) { return 1 / x; }
inline float max_f32(float x, float y) { return x != x ? x : y != y ? y : std::signbit(x) < std::signbit(y) || x > y ? x : y; }
inline float min_f32(float x, float y) { return x != x ? x : y != y ? y : std::signbit(x) > std::signbit(y) || x < y ? x : y; }
inline unsigned short f16_bits(float x) { unsigned short y; quern::store_from_f64(quern::DType::f16, &y, x); return y; }
inline float f16_value(unsigned short x) { return static_cast<float>(quern::load_as_f64(quern::DType::f16, &x)); }
inline unsigned short bf16_bits(float x) { unsigned short y; quern::store_from_f64(quern::DType::bf16, &y, x); return y; }

}  // namespace
