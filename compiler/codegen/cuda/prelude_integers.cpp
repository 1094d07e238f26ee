// Prelude: integer operators with a meaning of their own. The narrow types use the i32 forms and wrap the result.
#include "compiler/codegen/cuda/prelude.h"

namespace quern::cuda::device {

std::string_view integers() {
  return R"(// Toward minus infinity; 0 for a zero divisor; the lowest integer by -1 wraps to itself.
template <class T, class U>
QUERN_INLINE T floor_quotient(T x, T y) {
  const T divisor = y == 0 || y == -1 ? T(1) : y;
  const T q = x / divisor, r = x - q * divisor;
  const T floored = q - T(r != 0 && (r ^ divisor) < 0);
  return y == 0 ? T(0) : y == -1 ? T(U(0) - U(x)) : floored;
}
template <class T>
QUERN_INLINE T floor_remainder(T x, T y) {
  const T divisor = y == 0 || y == -1 ? T(1) : y;
  const T r = x % divisor;
  return r != 0 && (r ^ divisor) < 0 ? r + divisor : r;  // a divisor of 1 leaves 0
}
// Indices are small and not negative as a rule: 32-bit division is several times faster, also by a constant.
QUERN_INLINE bool both_short(i64 x, i64 y) { return (u64(x | y) >> 32) == 0; }
QUERN_INLINE i64 floordiv_i64(i64 x, i64 y) {
  if (both_short(x, y)) return y == 0 ? 0 : i64(u32(x) / (y == 0 ? 1u : u32(y)));
  return floor_quotient<i64, u64>(x, y);
}
QUERN_INLINE i32 floordiv_i32(i32 x, i32 y) { return floor_quotient<i32, u32>(x, y); }
QUERN_INLINE i64 mod_i64(i64 x, i64 y) {
  if (both_short(x, y)) return i64(u32(x) % (y == 0 ? 1u : u32(y)));
  return floor_remainder<i64>(x, y);
}
QUERN_INLINE i32 mod_i32(i32 x, i32 y) { return floor_remainder<i32>(x, y); }

// x ** 0 = 1; a negative exponent gives the truncated reciprocal: 0, 1 or -1.
template <class T, class U>
QUERN_INLINE T integer_power(T x, T y) {
  if (y < 0) return x == 1 ? T(1) : x == -1 ? (y & 1 ? T(-1) : T(1)) : T(0);
  U result = 1, base = U(x);
  for (U n = U(y); n != 0; n >>= 1, base *= base)
    if (n & 1) result *= base;
  return T(result);
}
QUERN_INLINE i64 pow_i64(i64 x, i64 y) { return integer_power<i64, u64>(x, y); }
QUERN_INLINE i32 pow_i32(i32 x, i32 y) { return integer_power<i32, u32>(x, y); }

QUERN_INLINE i64 max_i64(i64 x, i64 y) { return x > y ? x : y; }
QUERN_INLINE i64 min_i64(i64 x, i64 y) { return x < y ? x : y; }
QUERN_INLINE i32 max_i32(i32 x, i32 y) { return x > y ? x : y; }
QUERN_INLINE i32 min_i32(i32 x, i32 y) { return x < y ? x : y; }
QUERN_INLINE i64 abs_i64(i64 x) { return x < 0 ? i64(u64(0) - u64(x)) : x; }
QUERN_INLINE i32 abs_i32(i32 x) { return x < 0 ? i32(0u - u32(x)) : x; }
QUERN_INLINE i64 sign_i64(i64 x) { return i64(x > 0) - i64(x < 0); }
QUERN_INLINE i32 sign_i32(i32 x) { return i32(x > 0) - i32(x < 0); }

)";
}

}  // namespace quern::cuda::device
