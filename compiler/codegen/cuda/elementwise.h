// Scalar operators, conversions and constants as CUDA C++ text. In: an operator and the texts of its operands. Out: one
// expression, or a call of a device function of the prelude. No decision about loops or memory is made here.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "dsl/ir/expr.h"

namespace quern::cuda {

/// Type a value of `type` has in registers: double, float (all small floats), long long, int, short, signed char,
/// unsigned char, bool.
std::string value_type(DType type);
/// Type an element has in memory: as above, but small floats are unsigned short (f16, bf16) or unsigned char (fp8), bool is
/// unsigned char.
std::string stored_type(DType type);

/// Stored element -> value, and value -> stored element (rounds to nearest even; fp8 saturates).
std::string from_stored(DType type, const std::string& stored);
std::string to_stored(DType type, const std::string& value);

/// A constant; exact, independent of locale.
std::string literal_real(double value, DType type);
std::string literal_integer(std::int64_t value, DType type);

/// An elementwise operator. `operands` is the common type of the operands (of args[1] and args[2] for `where`), `result`
/// that of the node.
std::string apply_text(ir::Op op, DType operands, DType result, std::span<const std::string> args);
/// `cast` node: value of type `from` -> value of type `to` (to a small float: rounded to it, still a float in registers).
std::string cast_text(DType from, DType to, const std::string& value);

/// Statement-expression (void): the element at `address` becomes sum, max or min of itself and `value`, atomically. Other
/// reducers throw std::logic_error. `value` is of `type`'s value type; small floats are added in f32 and rounded each time.
std::string atomic_text(ir::Reducer reducer, DType type, const std::string& address, const std::string& value);

/// Largest error, in ulps of `type` (f64 or f32), documented by CUDA for the function that `apply_text` calls; 0 where it
/// calls none.
double documented_ulps(ir::Op op, DType type);

/// A form of a function of one f32 that is cheaper and right (within the same ulps) up to `limit` in size; null: there is none.
struct SmallForm {
  const char* name;
  double limit;
};
const SmallForm* small_form(ir::Op op);

/// Device functions that the texts above call, as far as `kernels` needs them; opens every translation unit. Includes nothing.
std::string prelude(std::string_view kernels);

}  // namespace quern::cuda
