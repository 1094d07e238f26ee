// A value as the interpreter carries it: the number and how far a correct implementation may be from it.
//
// Floats: the implementation's number lies in [v - e, v + e]. e = inf: it may be anything, NaN included. v NaN or
// infinite with e = 0: exactly that. A finite v beyond the largest value of its type is an overflow that a back end may
// have avoided: the implementation holds v or the infinity of its sign.
// Integers and bool: exact when e = 0; any integer within e when e > 0; one of a set when e < 0 (its number is -e - 1).
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "dsl/ir/dtype.h"

namespace quern::interpreter {

inline constexpr double kInf = std::numeric_limits<double>::infinity();

template <class R>
struct Number {
  R v;
  std::int64_t i;
};
template <>
struct Number<double> {  // two words with the error: returned in registers
  union {
    double v;
    std::int64_t i;
  };
};

template <class R>
struct Value : Number<R> {
  double e;

  static Value real(R value, double error = 0) {
    Value out;
    out.v = value;
    out.e = error;
    return out;
  }
  static Value integer(std::int64_t value, double error = 0) {
    Value out;
    out.i = value;
    out.e = error;
    return out;
  }
};

/// What rounding to a float type means.
struct Precision {
  double eps = 0;       // unit roundoff
  double tiny = 0;      // smallest subnormal
  double largest = 0;   // largest finite
  int digits = 0;       // of the significand
  bool single = false;  // f32
};

inline Precision precision_of(DType type) {
  const double eps = unit_roundoff(type);
  return {eps, smallest_subnormal(type), largest_finite(type), eps > 0 ? -std::ilogb(eps) : 0, type == DType::f32};
}

/// Exactly a value of the type, so that one correctly rounded operation gives it without error.
template <class R>
bool representable(R r, const Precision& p) {
  return p.single ? static_cast<R>(static_cast<float>(r)) == r : static_cast<R>(static_cast<double>(r)) == r;
}

/// Finite, and no overflow within its error.
template <class R>
bool tame(const Value<R>& a, const Precision& p) {
  return std::fabs(a.v) + a.e <= p.largest;
}

/// Either of two float values: an implementation may hold what either allows.
template <class R>
Value<R> merged(const Value<R>& a, const Value<R>& b, const Precision& p) {
  if (a.e == kInf || b.e == kInf) return Value<R>::real(a.v, kInf);
  const bool fa = std::isfinite(a.v), fb = std::isfinite(b.v);
  if (fa && fb) {
    const double low = static_cast<double>(std::fmin(a.v - a.e, b.v - b.e) - a.v);
    const double high = static_cast<double>(std::fmax(a.v + a.e, b.v + b.e) - a.v);
    return Value<R>::real(a.v, std::fmax(a.e, std::fmax(high, -low)));
  }
  if (fa != fb) {  // finite beyond the type with the infinity of its sign is an overflow as any other
    const Value<R>& finite = fa ? a : b;
    const Value<R>& other = fa ? b : a;
    if (std::isinf(other.v) && std::fabs(finite.v) > p.largest && std::signbit(finite.v) == std::signbit(other.v))
      return finite;
    return Value<R>::real(a.v, kInf);
  }
  if (std::isnan(a.v) == std::isnan(b.v) && (std::isnan(a.v) || a.v == b.v)) return a;
  return Value<R>::real(a.v, kInf);
}

}  // namespace quern::interpreter
