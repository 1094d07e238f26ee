// Operators as CUDA C++ text: infix where C++ means the same, CUDA's own functions where they are exact enough, functions
// of the prelude for the rest. Integers wrap, so i32 and i64 go through their unsigned types and narrower ones through i32.
#include "compiler/codegen/cuda/elementwise.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <stdexcept>

#include "compiler/codegen/cuda/text.h"

namespace quern::cuda {

using ir::Op;

namespace {

using Args = std::span<const std::string>;

/// Functions of CUDA with the largest error documented for them, in ulps, over the full range ("CUDA C++ Programming
/// Guide", appendix "Mathematical Functions", standard functions, without fast math). None is above the row of
/// compiler/interpreter/error_rules.def; tests/cuda_codegen compares the two. hypotf (3, allowed 2) is not taken.
struct Builtin {
  Op op;
  const char* single;
  double single_ulps;
  const char* wide;
  double wide_ulps;
};
constexpr Builtin kBuiltins[] = {
    {Op::abs, "fabsf", 0, "fabs", 0},       {Op::floor, "floorf", 0, "floor", 0},  {Op::ceil, "ceilf", 0, "ceil", 0},
    {Op::round, "rintf", 0, "rint", 0},     {Op::trunc, "truncf", 0, "trunc", 0},  {Op::expm1, "expm1f", 1, "expm1", 1},
    {Op::log, "logf", 1, "log", 1},         {Op::log2, "log2f", 1, "log2", 1},     {Op::log1p, "log1pf", 1, "log1p", 1},
    {Op::sqrt, "sqrtf", 0.5, "sqrt", 0.5},  {Op::rsqrt, "rsqrtf", 2, "rsqrt", 1},  {Op::cbrt, "cbrtf", 1, "cbrt", 1},
    {Op::sin, "sinf", 2, "sin", 2},         {Op::cos, "cosf", 2, "cos", 2},        {Op::tan, "tanf", 4, "tan", 2},
    {Op::asin, "asinf", 2, "asin", 2},      {Op::acos, "acosf", 2, "acos", 2},     {Op::atan, "atanf", 2, "atan", 2},
    {Op::sinh, "sinhf", 3, "sinh", 2},      {Op::cosh, "coshf", 2, "cosh", 1},     {Op::tanh, "tanhf", 2, "tanh", 1},
    {Op::erf, "erff", 2, "erf", 2},         {Op::pow, "pow_f32", 4, "pow_f64", 2},        {Op::atan2, "atan2f", 3, "atan2", 2},
    {Op::fma, "fmaf", 0.5, "fma", 0.5},     {Op::exp2, "ex2", 2, "exp2", 1},       {Op::exp, "exp_f32", 4, "exp", 1},
    {Op::hypot, "hypot_f32", 1, "hypot", 2},
};

std::string call(std::string_view function, Args args) { return fmt::format("{}({})", function, fmt::join(args, ", ")); }

std::string infix(const std::string& x, const char* sign, const std::string& y) {
  return fmt::format("({} {} {})", atom(x), sign, atom(y));
}

/// The infix sign that means the same in C++ for operands of one type; nullptr for none.
const char* comparison(Op op) {
  switch (op) {
    case Op::eq: return "==";
    case Op::ne: return "!=";
    case Op::lt: return "<";
    case Op::le: return "<=";
    case Op::gt: return ">";
    case Op::ge: return ">=";
    case Op::and_: return "&&";
    case Op::or_: return "||";
    default: return nullptr;
  }
}
const char* arithmetic(Op op) {
  switch (op) {
    case Op::add: return "+";
    case Op::sub: return "-";
    case Op::mul: return "*";
    default: return nullptr;
  }
}

/// k where `text` is the literal 2^k of an i32 or i64.
std::optional<int> power_of_two(const std::string& text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || (at != end && std::string_view(at, static_cast<std::size_t>(end - at)) != "ll")) return std::nullopt;
  if (value == 0 || (value & (value - 1)) != 0) return std::nullopt;
  return __builtin_ctzll(value);
}

std::string real_text(Op op, DType type, Args args) {
  const bool wide = type == DType::f64;
  const std::string_view own = wide ? "f64" : "f32", size = wide ? "fabs" : "fabsf";
  if (const char* sign = arithmetic(op)) return infix(args[0], sign, args[1]);
  switch (op) {
    case Op::neg: return fmt::format("(-{})", atom(args[0]));
    case Op::div: return infix(args[0], "/", args[1]);
    case Op::isinf: return fmt::format("({}({}) == infinity_{}())", size, args[0], own);
    case Op::isfinite: return fmt::format("({}({}) < infinity_{}())", size, args[0], own);
    default: break;
  }
  for (const Builtin& b : kBuiltins)
    if (b.op == op) return call(wide ? b.wide : b.single, args);
  return call(fmt::format("{}_{}", ir::name(op), own), args);  // of the prelude
}

std::string integer_text(Op op, DType type, Args args) {
  const bool narrow = type != DType::i64 && type != DType::i32;
  const std::string_view own = name(type), computed = type == DType::i64 ? "i64" : "i32", bits = type == DType::i64 ? "u64" : "u32";
  auto wrapped = [&](const std::string& text) { return fmt::format("{}({})", own, text); };
  auto result = [&](const std::string& text) { return narrow ? wrapped(text) : text; };
  // Sums and products of narrow operands are i32 and fit.
  auto word = [&](const std::string& x) { return narrow ? atom(x) : fmt::format("{}({})", bits, x); };
  if (const char* sign = arithmetic(op)) return wrapped(fmt::format("{} {} {}", word(args[0]), sign, word(args[1])));
  switch (op) {
    case Op::neg: return wrapped(fmt::format("{} - {}", word("0"), word(args[0])));
    case Op::fma: return wrapped(fmt::format("{} * {} + {}", word(args[0]), word(args[1]), word(args[2])));
    case Op::floor: case Op::ceil: case Op::round: case Op::trunc: return args[0];
    case Op::isnan: case Op::isinf: return "false";
    case Op::isfinite: return "true";
    case Op::relu: return result(fmt::format("max_{}({}, 0)", computed, args[0]));
    case Op::div: op = Op::floordiv; break;
    default: break;
  }
  if (op == Op::floordiv || op == Op::mod) {
    if (const auto k = power_of_two(args[1])) {
      if (op == Op::floordiv) return result(fmt::format("({} >> {})", atom(args[0]), *k));
      return result(infix(args[0], "&", literal_integer((std::int64_t{1} << *k) - 1, type == DType::i64 ? type : DType::i32)));
    }
  }
  return result(call(fmt::format("{}_{}", ir::name(op), computed), args));
}

}  // namespace

const SmallForm* small_form(Op op) {
  static constexpr SmallForm kTanh{"tanh_small_f32", 0.55};
  return op == Op::tanh ? &kTanh : nullptr;
}

std::string apply_text(Op op, DType operands, DType, Args args) {
  if (!ir::is_elementwise(op) || static_cast<int>(args.size()) != ir::info(op).arity)
    throw std::logic_error("apply_text: not an elementwise operator with its operands");
  if (const char* sign = comparison(op)) return infix(args[0], sign, args[1]);
  if (op == Op::not_) return fmt::format("(!{})", atom(args[0]));
  if (op == Op::where) return fmt::format("({} ? {} : {})", atom(args[0]), atom(args[1]), atom(args[2]));
  return is_float(operands) ? real_text(op, operands, args) : integer_text(op, operands, args);
}

std::string atomic_text(ir::Reducer reducer, DType type, const std::string& address, const std::string& value) {
  const bool known = reducer == ir::Reducer::sum || reducer == ir::Reducer::max || reducer == ir::Reducer::min;
  if (!known) throw std::logic_error("atomic_text: only sum, max and min");
  const std::string_view function = reducer == ir::Reducer::sum ? "add" : ir::name(reducer);
  return fmt::format("atomic_{}_{}({}, {})", function, name(type), address, value);
}

double documented_ulps(Op op, DType type) {
  for (const Builtin& b : kBuiltins)
    if (b.op == op) return type == DType::f64 ? b.wide_ulps : b.single_ulps;
  return 0;
}

}  // namespace quern::cuda
