// Element types: in, a stored element or a value; out, the value or the stored bits. The small floats are described by
// one row each (mantissa bits, smallest normal exponent, largest bits), and one rounding routine serves them all, in
// integer arithmetic: the host's rounding mode and its conversion instructions never matter.
#include "dsl/ir/dtype.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace quern {
namespace {

constexpr std::array<std::string_view, kDTypeCount> kNames = {"f64", "f32", "f16", "bf16", "e4m3", "e5m2",
                                                              "i64", "i32", "i16", "i8",   "u8",   "bool"};
constexpr std::array<std::size_t, kDTypeCount> kSizes = {8, 4, 2, 2, 1, 1, 8, 4, 2, 1, 1, 1};

/// A float of at most 16 bits: sign, exponent, `mantissa` bits; smallest normal 2^lowest.
struct SmallFloat {
  int mantissa;
  int lowest;
  unsigned sign;     // the sign bit
  unsigned largest;  // bits of the largest finite value
  unsigned beyond;   // what a larger value becomes: infinity, or `largest` where the type saturates
  unsigned nan;
};
constexpr SmallFloat kF16 = {10, -14, 0x8000, 0x7BFF, 0x7C00, 0x7E00};
constexpr SmallFloat kBF16 = {7, -126, 0x8000, 0x7F7F, 0x7F80, 0x7FC0};
constexpr SmallFloat kE4M3 = {3, -6, 0x80, 0x7E, 0x7E, 0x7F};
constexpr SmallFloat kE5M2 = {2, -14, 0x80, 0x7B, 0x7B, 0x7E};

const SmallFloat& layout(DType type) {
  switch (type) {
    case DType::f16:
      return kF16;
    case DType::bf16:
      return kBF16;
    case DType::e4m3:
      return kE4M3;
    default:
      return kE5M2;
  }
}

unsigned encode(const SmallFloat& f, double value) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(value);
  const unsigned sign = (bits >> 63) ? f.sign : 0;
  const std::uint64_t magnitude = bits & 0x7FFFFFFFFFFFFFFFull;
  if (magnitude > 0x7FF0000000000000ull) return sign | f.nan;
  if (magnitude == 0x7FF0000000000000ull) return sign | f.beyond;
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  if (exponent < f.lowest - f.mantissa - 1) return sign;  // below half of the smallest subnormal (f64 subnormals too)
  // The value is `significand` * 2^(exponent-52); count it in units of 2^(unit).
  const std::uint64_t significand = (magnitude & 0xFFFFFFFFFFFFFull) | 0x10000000000000ull;
  const int unit = std::max(exponent, f.lowest) - f.mantissa;
  const int drop = unit - (exponent - 52);  // 42 .. 53
  std::uint64_t count = significand >> drop;
  const std::uint64_t rest = significand & ((std::uint64_t{1} << drop) - 1);
  const std::uint64_t half = std::uint64_t{1} << (drop - 1);
  if (rest > half || (rest == half && (count & 1))) ++count;
  // A carry out of the mantissa moves into the exponent by itself.
  const std::uint64_t result = count + (static_cast<std::uint64_t>(unit - (f.lowest - f.mantissa)) << f.mantissa);
  return sign | (result > f.largest ? f.beyond : static_cast<unsigned>(result));
}

double decode(const SmallFloat& f, unsigned bits) {
  const unsigned magnitude = bits & (f.sign - 1);
  double value;
  if (magnitude > f.largest) {
    // e4m3 has no infinity: `beyond` is its largest value, and the one pattern above is NaN.
    const unsigned infinity = f.largest + 1;
    const bool is_infinity = magnitude == infinity && infinity != f.nan;
    value = is_infinity ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else {
    const unsigned exponent = magnitude >> f.mantissa;
    const unsigned fraction = magnitude & ((1u << f.mantissa) - 1);
    value = exponent == 0
                ? std::ldexp(fraction, f.lowest - f.mantissa)
                : std::ldexp(fraction | (1u << f.mantissa), f.lowest - f.mantissa + static_cast<int>(exponent) - 1);
  }
  return bits & f.sign ? -value : value;
}

double decode_f16(unsigned h) {
  const unsigned magnitude = h & 0x7FFF;
  if (magnitude - 0x400u >= 0x7C00u - 0x400u) return decode(kF16, h);
  return std::bit_cast<float>(((h & 0x8000u) << 16) | ((magnitude << 13) + (112u << 23)));
}

template <class T>
T fetch(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void put(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

/// Toward zero, saturating; NaN gives 0.
template <class T>
T to_integer(double value) {
  if (std::isnan(value)) return 0;
  constexpr double above = -2.0 * static_cast<double>(std::numeric_limits<std::int64_t>::min() / 2);  // 2^63
  constexpr double limit = sizeof(T) == 8 ? above : static_cast<double>(std::numeric_limits<T>::max()) + 1.0;
  if (value >= limit) return std::numeric_limits<T>::max();
  if (value <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  return static_cast<T>(value);
}

/// An f64 that rounds to the same small float as `value`: inexact conversions keep a sticky last bit (round to odd).
double sticky(std::int64_t value) {
  const double nearest = static_cast<double>(value);
  if (value > -(std::int64_t{1} << 53) && value < (std::int64_t{1} << 53)) return nearest;
  const bool negative = value < 0;
  std::uint64_t magnitude = negative ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  const int drop = 64 - std::countl_zero(magnitude) - 53;
  if (magnitude & ((std::uint64_t{1} << drop) - 1)) magnitude |= std::uint64_t{1} << drop;
  magnitude = (magnitude >> drop) << drop;
  return negative ? -static_cast<double>(magnitude) : static_cast<double>(magnitude);
}

}  // namespace

std::string_view name(DType type) { return kNames[static_cast<std::size_t>(type)]; }

std::optional<DType> dtype_from_name(std::string_view text) {
  for (int i = 0; i < kDTypeCount; ++i) {
    if (kNames[static_cast<std::size_t>(i)] == text) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::size_t size_of(DType type) { return kSizes[static_cast<std::size_t>(type)]; }
bool is_float(DType type) { return type <= DType::e5m2; }
bool is_small_float(DType type) { return type >= DType::f16 && type <= DType::e5m2; }
bool is_integer(DType type) { return type >= DType::i64 && type <= DType::u8; }

double unit_roundoff(DType type) {
  switch (type) {
    case DType::f64:
      return 0x1p-53;
    case DType::f32:
      return 0x1p-24;
    case DType::f16:
      return 0x1p-11;
    case DType::bf16:
      return 0x1p-8;
    case DType::e4m3:
      return 0x1p-4;
    case DType::e5m2:
      return 0x1p-3;
    default:
      return 0;
  }
}

double smallest_subnormal(DType type) {
  switch (type) {
    case DType::f64:
      return 0x1p-1074;
    case DType::f32:
      return 0x1p-149;
    case DType::f16:
      return 0x1p-24;
    case DType::bf16:
      return 0x1p-133;
    case DType::e4m3:
      return 0x1p-9;
    case DType::e5m2:
      return 0x1p-16;
    default:
      return 0;
  }
}

double largest_finite(DType type) {
  switch (type) {
    case DType::f64:
      return std::numeric_limits<double>::max();
    case DType::f32:
      return std::numeric_limits<float>::max();
    case DType::f16:
      return 65504;
    case DType::bf16:
      return 0x1.FEp127;
    case DType::e4m3:
      return 448;
    case DType::e5m2:
      return 57344;
    case DType::i64:
      return 0x1p63;  // the nearest f64
    case DType::i32:
      return std::numeric_limits<std::int32_t>::max();
    case DType::i16:
      return 32767;
    case DType::i8:
      return 127;
    case DType::u8:
      return 255;
    case DType::boolean:
      return 1;
  }
  return 0;
}

DType accumulator_of(DType type) {
  switch (type) {
    case DType::f64:
      return DType::f64;
    case DType::i64:
    case DType::i32:
      return DType::i64;
    case DType::i16:
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return DType::i32;
    default:
      return DType::f32;
  }
}

double load_as_f64(DType type, const void* at) {
  switch (type) {
    case DType::f64:
      return fetch<double>(at);
    case DType::f32:
      return fetch<float>(at);
    case DType::f16:
      return decode_f16(fetch<std::uint16_t>(at));
    case DType::bf16:
      return std::bit_cast<float>(static_cast<std::uint32_t>(fetch<std::uint16_t>(at)) << 16);
    case DType::e4m3:
      return decode(kE4M3, fetch<std::uint8_t>(at));
    case DType::e5m2:
      return decode(kE5M2, fetch<std::uint8_t>(at));
    default:
      return static_cast<double>(load_as_i64(type, at));
  }
}

void store_from_f64(DType type, void* at, double value) {
  switch (type) {
    case DType::f64:
      return put(at, value);
    case DType::f32:
      return put(at, static_cast<float>(value));
    case DType::f16:
    case DType::bf16:
      return put(at, static_cast<std::uint16_t>(encode(layout(type), value)));
    case DType::e4m3:
    case DType::e5m2:
      return put(at, static_cast<std::uint8_t>(encode(layout(type), value)));
    case DType::i64:
      return put(at, to_integer<std::int64_t>(value));
    case DType::i32:
      return put(at, to_integer<std::int32_t>(value));
    case DType::i16:
      return put(at, to_integer<std::int16_t>(value));
    case DType::i8:
      return put(at, to_integer<std::int8_t>(value));
    case DType::u8:
      return put(at, to_integer<std::uint8_t>(value));
    case DType::boolean:
      return put(at, static_cast<std::uint8_t>(value != 0));
  }
}

std::int64_t load_as_i64(DType type, const void* at) {
  switch (type) {
    case DType::i64:
      return fetch<std::int64_t>(at);
    case DType::i32:
      return fetch<std::int32_t>(at);
    case DType::i16:
      return fetch<std::int16_t>(at);
    case DType::i8:
      return fetch<std::int8_t>(at);
    case DType::u8:
      return fetch<std::uint8_t>(at);
    case DType::boolean:
      return fetch<std::uint8_t>(at) != 0;
    default:
      return to_integer<std::int64_t>(load_as_f64(type, at));
  }
}

void store_from_i64(DType type, void* at, std::int64_t value) {
  switch (type) {
    case DType::f64:
      return put(at, static_cast<double>(value));
    case DType::f32:
      return put(at, static_cast<float>(value));
    case DType::f16:
    case DType::bf16:
    case DType::e4m3:
    case DType::e5m2:
      return store_from_f64(type, at, sticky(value));
    case DType::i64:
      return put(at, value);
    case DType::i32:
      return put(at, static_cast<std::int32_t>(value));
    case DType::i16:
      return put(at, static_cast<std::int16_t>(value));
    case DType::i8:
      return put(at, static_cast<std::int8_t>(value));
    case DType::u8:
      return put(at, static_cast<std::uint8_t>(value));
    case DType::boolean:
      return put(at, static_cast<std::uint8_t>(value != 0));
  }
}

double rounded_to(DType type, double value) {
  switch (type) {
    case DType::f64:
      return value;
    case DType::f32:
      return static_cast<float>(value);
    case DType::f16:
      return decode_f16(encode(kF16, value));
    case DType::bf16:
      return std::bit_cast<float>(static_cast<std::uint32_t>(encode(kBF16, value)) << 16);
    case DType::e4m3:
    case DType::e5m2:
      return decode(layout(type), encode(layout(type), value));
    case DType::i64:
      return static_cast<double>(to_integer<std::int64_t>(value));
    case DType::i32:
      return to_integer<std::int32_t>(value);
    case DType::i16:
      return to_integer<std::int16_t>(value);
    case DType::i8:
      return to_integer<std::int8_t>(value);
    case DType::u8:
      return to_integer<std::uint8_t>(value);
    case DType::boolean:
      return value != 0;
  }
  return value;
}

std::int64_t wrapped_to(DType type, std::int64_t value) {
  switch (type) {
    case DType::i32:
      return static_cast<std::int32_t>(value);
    case DType::i16:
      return static_cast<std::int16_t>(value);
    case DType::i8:
      return static_cast<std::int8_t>(value);
    case DType::u8:
      return static_cast<std::uint8_t>(value);
    case DType::boolean:
      return value != 0;
    default:
      return value;
  }
}

}  // namespace quern
