// Element types: the twelve types a tensor can have, their sizes, ranges and exact conversions.
// Conversions are done in software so that every host gives the same bits: round to nearest even, fp8 saturates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace quern {

enum class DType : std::uint8_t { f64, f32, f16, bf16, e4m3, e5m2, i64, i32, i16, i8, u8, boolean };

inline constexpr int kDTypeCount = 12;

/// The name as the language prints it: "f32", "bool", ...
std::string_view name(DType type);
std::optional<DType> dtype_from_name(std::string_view text);

/// Bytes of one stored element.
std::size_t size_of(DType type);

bool is_float(DType type);    // f64 f32 f16 bf16 e4m3 e5m2
bool is_small_float(DType type);  // computes in f32: f16 bf16 e4m3 e5m2
bool is_integer(DType type);  // i64 i32 i16 i8 u8 (not bool)

/// Unit roundoff of one rounding to `type` (2^-24 for f32); 0 for integers and bool.
double unit_roundoff(DType type);
/// Smallest positive (subnormal) value; absolute error floor of a rounding. 0 for integers and bool.
double smallest_subnormal(DType type);
/// Largest finite value of a float type, or of an integer type.
double largest_finite(DType type);

/// Type of a sum over elements of `type`: f32 for small floats, i32 for 8- and 16-bit integers and bool, i64 for i32 and i64.
DType accumulator_of(DType type);

/// Reads one stored element as f64 (exact for every type but i64 beyond 2^53).
double load_as_f64(DType type, const void* at);
/// Rounds once to nearest even and stores; fp8 saturates, floats to integers go toward zero and saturate, NaN to integer gives 0.
void store_from_f64(DType type, void* at, double value);
std::int64_t load_as_i64(DType type, const void* at);
/// Integers wrap.
void store_from_i64(DType type, void* at, std::int64_t value);
/// `value` rounded to `type` and read back.
double rounded_to(DType type, double value);
/// Wraps to the width of an integer type.
std::int64_t wrapped_to(DType type, std::int64_t value);

}  // namespace quern
