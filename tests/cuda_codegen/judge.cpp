#include "tests/cuda_codegen/judge.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "compiler/interpreter/elementwise.h"
#include "dsl/ir/operators.h"

namespace quern::cuda::test {

namespace {

using interpreter::Value;
using ir::Op;

struct Point {
  const Case& c;
  std::array<const void*, 3> at;
  const void* got;
};

std::int64_t integer_power(DType type, std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  std::uint64_t out = 1, b = static_cast<std::uint64_t>(base);
  for (; exponent; exponent >>= 1, b *= b)
    if (exponent & 1) out *= b;
  return wrapped_to(type, static_cast<std::int64_t>(out));
}

bool same_stored(DType type, const void* a, const void* b) {
  if (is_float(type) && std::isnan(load_as_f64(type, a))) return std::isnan(load_as_f64(type, b));
  return std::memcmp(a, b, size_of(type)) == 0;
}

/// Exact answers: casts, integers, logic, choices.
std::string expected_bits(const Point& p, void* want) {
  const Case& c = p.c;
  if (c.is_cast) {
    if (c.to == DType::boolean && is_float(c.from)) store_from_i64(c.to, want, load_as_f64(c.from, p.at[0]) != 0);
    else if (is_float(c.from)) store_from_f64(c.to, want, load_as_f64(c.from, p.at[0]));
    else store_from_i64(c.to, want, load_as_i64(c.from, p.at[0]));
  } else if (c.op == Op::where) {
    std::memcpy(want, load_as_i64(DType::boolean, p.at[0]) ? p.at[1] : p.at[2], size_of(c.to));
  } else {
    std::array<std::int64_t, 3> v{};
    for (std::size_t k = 0; k < c.operands.size(); ++k) v[k] = load_as_i64(c.operands[k], p.at[k]);
    if (c.second) v[1] = *c.second;
    const auto arity = static_cast<std::size_t>(ir::info(c.op).arity);
    const auto folded = c.op == Op::pow ? integer_power(c.from, v[0], v[1]) : ir::fold_integer(c.op, std::span(v.data(), arity), c.to).value();
    store_from_i64(c.to, want, folded);
  }
  return shown(c.to, want);
}

/// Error of `got` as a part of what is allowed; above 1 is wrong.
template <class R>
double ratio(DType type, const Value<R>& want, R got) {
  if (want.e == interpreter::kInf) return 0;
  if (std::isnan(want.v)) return std::isnan(got) ? 0 : 2;
  const double largest = largest_finite(type);
  if (std::isinf(got)) {
    const bool may = std::signbit(got) == std::signbit(want.v) && std::fabs(static_cast<double>(want.v)) + want.e > largest;
    return may ? 0 : 2;
  }
  if (std::isnan(got) || std::isinf(want.v)) return 2;
  const double error = static_cast<double>(std::fabs(got - want.v));
  return error == 0 ? 0 : error / want.e;  // e = 0: infinite
}

template <class R>
double judge_real(const Point& p, std::string* expected) {
  const Case& c = p.c;
  const interpreter::Precision precision = interpreter::precision_of(c.from);
  std::array<Value<R>, 3> v{};
  for (std::size_t k = 0; k < c.operands.size(); ++k) v[k] = Value<R>::real(static_cast<R>(load_as_f64(c.from, p.at[k])));
  if (c.to == DType::boolean) {
    const Value<R> want = interpreter::compare_float<R>(c.op, precision, v[0], v[1]);
    *expected = want.i ? "true" : "false";
    return want.e == 0 && load_as_i64(c.to, p.got) != want.i ? 2 : 0;
  }
  const Value<R> want = interpreter::apply_float<R>(c.op, precision, false, v[0], v[1], v[2]);
  *expected = fmt::format("{} +- {}", static_cast<double>(want.v), want.e);
  return ratio<R>(c.to, want, static_cast<R>(load_as_f64(c.to, p.got)));
}

}  // namespace

std::string shown(DType type, const void* stored) {
  return is_float(type) ? fmt::format("{} ({:a})", load_as_f64(type, stored), load_as_f64(type, stored)) : fmt::format("{}", load_as_i64(type, stored));
}

Verdict judge(const Case& c, const Inputs& in, const std::vector<std::uint8_t>& out) {
  Verdict verdict;
  const bool real = !c.is_cast && c.op != Op::where && is_float(c.from);
  for (std::int64_t i = 0; i < in.count; ++i) {
    Point p{c, {}, out.data() + static_cast<std::size_t>(i) * size_of(c.to)};
    for (std::size_t k = 0; k < c.operands.size(); ++k) p.at[k] = in.stored[k].data() + static_cast<std::size_t>(i) * size_of(c.operands[k]);
    std::string expected;
    double r = 0;
    if (real) {
      r = c.from == DType::f64 ? judge_real<long double>(p, &expected) : judge_real<double>(p, &expected);
    } else {
      std::uint64_t want = 0;
      expected = expected_bits(p, &want);
      r = same_stored(c.to, &want, p.got) ? 0 : 2;
    }
    verdict.worst = std::fmax(verdict.worst, r);
    if (r <= 1) continue;
    if (verdict.wrong++ == 0) {
      verdict.first = c.name + "(";
      for (std::size_t k = 0; k < c.operands.size(); ++k) verdict.first += (k ? ", " : "") + shown(c.operands[k], p.at[k]);
      verdict.first += ") gave " + shown(c.to, p.got) + ", expected " + expected;
    }
  }
  return verdict;
}

}  // namespace quern::cuda::test
