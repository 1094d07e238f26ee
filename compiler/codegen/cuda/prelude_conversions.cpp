// Prelude: conversions between element types as dsl/ir/dtype.h defines them: one rounding to nearest even, fp8 saturates,
// floats to integers go toward zero and saturate, NaN to integer gives 0.
#include "compiler/codegen/cuda/prelude.h"

namespace quern::cuda::device {

std::string_view conversions() {
  return R"(QUERN_INLINE float infinity_f32() { return __int_as_float(0x7f800000); }
QUERN_INLINE double infinity_f64() { return __longlong_as_double(0x7ff0000000000000ll); }

// Where wider types than f32 are narrowed to a small float, they are first rounded to odd: the second rounding is then
// the only one that counts.
QUERN_INLINE float odd_if(float truncated, bool inexact) { return __int_as_float(__float_as_int(truncated) | int(inexact)); }
QUERN_INLINE float odd_f32_of_f64(double x) { float t = __double2float_rz(x); return odd_if(t, double(t) != x); }
QUERN_INLINE float odd_f32_of_i64(i64 x) { float t = __ll2float_rz(x); return odd_if(t, i64(t) != x); }
QUERN_INLINE float odd_f32_of_i32(i32 x) { float t = __int2float_rz(x); return odd_if(t, i32(t) != x); }

QUERN_INLINE float bf16_value(u16 x) { return __uint_as_float(u32(x) << 16); }
#if QUERN_FP8_INSTRUCTIONS
QUERN_INLINE u8 e4m3_bits(float x) { return u8(e4m3x2_bits(x, 0.0f)); }
QUERN_INLINE u8 e5m2_bits(float x) { return u8(e5m2x2_bits(x, 0.0f)); }
QUERN_INLINE float e4m3_value(u8 x) { return f16_value(u16(f16x2_of_e4m3x2(x))); }
#else
// An fp8 type of `mantissa` bits whose smallest normal is 2^lowest. In the normal range half a unit is added to the bits
// of the f32 and the carry moves the exponent; below it, adding a power of two leaves the count of units in the low bits.
template <int mantissa, int lowest, int largest, int nan>
QUERN_INLINE u8 fp8_bits(float x) {
  const u32 bits = __float_as_uint(x), size = bits & 0x7fffffffu;
  const int drop = 23 - mantissa;
  u32 result = ((size + ((size >> drop) & 1u) + ((1u << (drop - 1)) - 1u)) >> drop) - (u32(lowest + 126) << mantissa);
  const u32 anchor = u32(lowest - mantissa + 23 + 127) << 23;
  if (size < u32(lowest + 127) << 23) result = __float_as_uint(__uint_as_float(size) + __uint_as_float(anchor)) - anchor;
  if (result > u32(largest)) result = largest;
  if (size > 0x7f800000u) result = nan;
  return u8(result | ((bits >> 24) & 0x80u));
}
QUERN_INLINE u8 e4m3_bits(float x) { return fp8_bits<3, -6, 0x7e, 0x7f>(x); }
QUERN_INLINE u8 e5m2_bits(float x) { return fp8_bits<2, -14, 0x7b, 0x7e>(x); }
QUERN_INLINE float e4m3_value(u8 x) {
  const float y = f16_value(u16((x & 0x80u) << 8 | (x & 0x7fu) << 7)) * 256.0f;  // f16's exponent has a bias 8 larger
  return (x & 0x7fu) == 0x7fu ? __int_as_float(0x7fffffff) : y;
}
#endif
QUERN_INLINE float e5m2_value(u8 x) { return f16_value(u16(x) << 8); }  // the upper half of an f16

QUERN_INLINE float f16_rounded(float x) { return f16_value(f16_bits(x)); }
QUERN_INLINE float bf16_rounded(float x) { return bf16_value(bf16_bits(x)); }
QUERN_INLINE float e4m3_rounded(float x) { return e4m3_value(e4m3_bits(x)); }
QUERN_INLINE float e5m2_rounded(float x) { return e5m2_value(e5m2_bits(x)); }

// The conversion instructions saturate; for NaN f32 to i32 gives 0, the others the lowest integer.
QUERN_INLINE i32 i32_of_f32(float x) { return __float2int_rz(x); }
QUERN_INLINE i64 i64_of_f32(float x) { return x == x ? __float2ll_rz(x) : 0; }
QUERN_INLINE i32 i32_of_f64(double x) { return x == x ? __double2int_rz(x) : 0; }
QUERN_INLINE i64 i64_of_f64(double x) { return x == x ? __double2ll_rz(x) : 0; }
QUERN_INLINE i32 clamped(i32 x, i32 low, i32 high) { return x < low ? low : x > high ? high : x; }

)";
}

}  // namespace quern::cuda::device
