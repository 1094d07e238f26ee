// Polynomials with i64 coefficients over atoms: the normal form of size and index expressions.
// The one idea: an atom is an interned ir::Expr (a symbol, an index, a floor division, a read of data, ...), so two
// sizes are equal when their maps of terms are. Arithmetic that overflows marks the result, and a marked form proves
// nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "dsl/ir/expr.h"

namespace quern::dsl {

class NormalForm {
 public:
  using Monomial = std::vector<ir::Expr>;  // atoms, sorted, with repeats; empty: the constant term
  using Terms = std::map<Monomial, std::int64_t>;

  static NormalForm constant(std::int64_t value);
  static NormalForm atom(ir::Expr e);
  static NormalForm overflowed();

  bool overflow() const { return overflow_; }
  const Terms& terms() const { return terms_; }
  std::optional<std::int64_t> as_constant() const;
  bool is_zero() const { return !overflow_ && terms_.empty(); }
  std::int64_t coefficient(const Monomial& m) const;
  bool contains(ir::Expr atom) const;

  NormalForm scaled(std::int64_t factor) const;
  /// Times a product of atoms.
  NormalForm times(const Monomial& m) const;
  /// Every occurrence of `atom` replaced.
  NormalForm with(ir::Expr atom, const NormalForm& value) const;
  /// Split as a = quotient * divisor + rest, term by term; the divisor is one term. The rest holds what does not
  /// divide.
  struct Division;
  Division divided(const NormalForm& divisor) const;

  friend NormalForm operator+(const NormalForm& a, const NormalForm& b);
  friend NormalForm operator-(const NormalForm& a, const NormalForm& b);
  friend NormalForm operator*(const NormalForm& a, const NormalForm& b);
  /// False when either overflowed.
  friend bool operator==(const NormalForm& a, const NormalForm& b) {
    return !a.overflow_ && !b.overflow_ && a.terms_ == b.terms_;
  }

 private:
  void add_term(const Monomial& m, std::int64_t c);
  Terms terms_;
  bool overflow_ = false;
};

struct NormalForm::Division {
  NormalForm quotient, rest;
};

/// m / d when every atom of d occurs in m.
std::optional<NormalForm::Monomial> quotient(const NormalForm::Monomial& m, const NormalForm::Monomial& d);

}  // namespace quern::dsl
