// Types, constants and conversions as CUDA C++ text. Every text that comes out is a primary expression: a name, a literal
// or something in brackets, so it can stand anywhere.
#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/text.h"

namespace quern::cuda {

namespace {

std::string call(std::string_view function, const std::string& x) { return fmt::format("{}({})", function, x); }

/// Floats to integers saturate; the narrow types through i32.
std::string integer_of_float(DType from, DType to, const std::string& value) {
  const std::string_view source = from == DType::f64 ? "f64" : "f32";
  if (to == DType::i64 || to == DType::i32) return fmt::format("{}_of_{}({})", name(to), source, value);
  const std::string_view range = to == DType::i16 ? "-32768, 32767" : to == DType::i8 ? "-128, 127" : "0, 255";
  return fmt::format("{}(clamped(i32_of_{}({}), {}))", name(to), source, value, range);
}

/// An f32 that rounds to the same small float as the value of type `from`.
std::string single_before_rounding(DType from, const std::string& value) {
  switch (from) {
    case DType::f64: return call("odd_f32_of_f64", value);
    case DType::i64: return call("odd_f32_of_i64", value);
    case DType::i32: return call("odd_f32_of_i32", value);
    default: return is_float(from) ? value : call("float", value);
  }
}

}  // namespace

std::string atom(const std::string& text) {
  // A name, number or call: nothing but letters, digits, dots and groups in brackets.
  std::size_t depth = 0;
  bool plain = !text.empty();
  for (std::size_t i = 0; i < text.size() && plain; ++i) {
    const char c = text[i];
    if (c == '(' || c == '[') ++depth;
    else if (c == ')' || c == ']') depth -= depth > 0;
    else if (depth == 0) plain = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
  }
  return plain ? text : fmt::format("({})", text);
}

std::string value_type(DType type) {
  switch (type) {
    case DType::f64: return "double";
    case DType::i64: return "long long";
    case DType::i32: return "int";
    case DType::i16: return "short";
    case DType::i8: return "signed char";
    case DType::u8: return "unsigned char";
    case DType::boolean: return "bool";
    default: return "float";
  }
}

std::string stored_type(DType type) {
  switch (type) {
    case DType::f16:
    case DType::bf16: return "unsigned short";
    case DType::e4m3:
    case DType::e5m2:
    case DType::boolean: return "unsigned char";
    default: return value_type(type);
  }
}

std::string from_stored(DType type, const std::string& stored) {
  if (is_small_float(type)) return fmt::format("{}_value({})", name(type), stored);
  if (type == DType::boolean) return fmt::format("({} != 0)", atom(stored));
  return stored;
}

std::string to_stored(DType type, const std::string& value) {
  if (is_small_float(type)) return fmt::format("{}_bits({})", name(type), value);
  if (type == DType::boolean) return call("u8", value);
  return value;
}

std::string literal_real(double value, DType type) {
  const bool wide = type == DType::f64;
  if (!wide) value = rounded_to(type, value);
  if (std::isnan(value)) return wide ? "__longlong_as_double(0x7ff8000000000000ll)" : "__int_as_float(0x7fffffff)";
  const double size = std::fabs(value);
  std::string text;
  if (std::isinf(size)) {
    text = wide ? "infinity_f64()" : "infinity_f32()";
  } else {
    // Decimal where few digits are exact (multiples of 1/1024), else the bits in hexadecimal: no reader rounds those.
    const bool decimal = size < 4096 && size * 1024 == std::floor(size * 1024);
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof digits, size, decimal ? std::chars_format::fixed : std::chars_format::hex).ptr;
    const std::string_view written(digits, static_cast<std::size_t>(end - digits));
    const bool whole = decimal && written.find('.') == std::string_view::npos;
    text = fmt::format("{}{}{}{}", decimal ? "" : "0x", written, whole ? ".0" : "", wide ? "" : "f");
  }
  return std::signbit(value) ? fmt::format("(-{})", text) : text;
}

std::string literal_integer(std::int64_t value, DType type) {
  if (type == DType::boolean) return value != 0 ? "true" : "false";
  value = wrapped_to(type, value);
  const std::string_view suffix = type == DType::i64 ? "ll" : "";
  if (type != DType::i64 && type != DType::i32) return fmt::format("{}({})", name(type), value);
  const std::int64_t lowest = type == DType::i64 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int32_t>::min();
  if (value == lowest) return fmt::format("({}{} - 1)", value + 1, suffix);  // its digits alone do not fit
  return value < 0 ? fmt::format("({}{})", value, suffix) : fmt::format("{}{}", value, suffix);
}

std::string cast_text(DType from, DType to, const std::string& value) {
  if (from == to) return value;
  if (is_small_float(to)) return fmt::format("{}_rounded({})", name(to), single_before_rounding(from, value));
  switch (to) {
    case DType::f64: return call("double", value);
    case DType::f32: return is_small_float(from) ? value : call("float", value);
    case DType::boolean: return fmt::format("({} != 0)", atom(value));
    default: return is_float(from) ? integer_of_float(from, to, value) : call(name(to), value);
  }
}

}  // namespace quern::cuda
