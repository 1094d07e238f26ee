// Typed arithmetic: promotion, weak literals, explicit casts. In: operands with places. Out: one explicitly typed
// value. The one idea: a value knows how firmly it holds its type, so that 1, D and 1/sqrt(D) take the float type
// beside them.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "dsl/ir/expr.h"
#include "dsl/text/diagnostic.h"

namespace quern::dsl {

enum class Strength : std::uint8_t {
  literal_integer,  // 2: i64 until it meets a type
  size,             // a size or an index: i64; f32 in float context, f64 next to f64
  literal_real,     // 0.5, 1/sqrt(D): held in f64 until it meets a type, f32 alone
  strong,
};

/// A checked expression. Without `expr` it stands for one whose error is reported already.
struct Typed {
  ir::Expr expr;
  Strength strength = Strength::strong;
  Span span;
  /// Where it is not a structural zero (the domain of a masked softmax); none: everywhere.
  ir::Expr support;
  explicit operator bool() const { return bool(expr); }
};

/// The type that two stored element types multiply in.
DType promoted(DType a, DType b);

struct Arith {
  ir::ExprPool& pool;
  Diagnostics& diagnostics;

  Typed literal(std::int64_t value, Span at = {}) { return {pool.integer(value), Strength::literal_integer, at, {}}; }
  Typed literal(double value, Span at = {}) { return {pool.real(value, DType::f64), Strength::literal_real, at, {}}; }

  /// An operator of the table on operands of any type. Reports what does not fit and returns an empty value then.
  Typed apply(ir::Op op, std::span<const Typed> args, Span at);
  Typed apply(ir::Op op, std::initializer_list<Typed> args, Span at) {
    return apply(op, std::span<const Typed>(args.begin(), args.size()), at);
  }
  Typed add(Typed a, Typed b, Span at) { return apply(ir::Op::add, {a, b}, at); }
  Typed sub(Typed a, Typed b, Span at) { return apply(ir::Op::sub, {a, b}, at); }
  Typed mul(Typed a, Typed b, Span at) { return apply(ir::Op::mul, {a, b}, at); }
  Typed div(Typed a, Typed b, Span at) { return apply(ir::Op::div, {a, b}, at); }
  Typed clip(Typed x, Typed low, Typed high, Span at) {
    return apply(ir::Op::min, {apply(ir::Op::max, {x, low}, at), high}, at);
  }

  /// The value in a compute type or rounded to a small float, as a cast written by the user does.
  ir::Expr cast(const Typed& x, DType type);
  /// Takes a type for good: literals i32 (i64 where too large), sizes i64, reals f32, small floats f32.
  Typed resolved(const Typed& x);
  /// Element type that the value has, small floats included.
  DType type(const Typed& x) const { return pool.type(x.expr); }
  /// As a bool condition; reports otherwise.
  ir::Expr condition(const Typed& x, std::string_view what);
  /// In a float compute type (f32 or f64).
  Typed real(const Typed& x);

 private:
  struct Common {
    DType type;
    Strength strength;
  };
  Common common(std::span<const Typed> args);
  ir::Expr retyped(ir::Expr weak, DType type);
};

}  // namespace quern::dsl
