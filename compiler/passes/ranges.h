// Proofs about integer expressions: polynomials over sizes, indices and opaque atoms, bounded by eliminating indices
// through their ranges. Everything is one-sided: `true` is proved, `false` only means not proved.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// Normal form of an i64 expression: monomials (sorted atoms, repeated for powers) with integer coefficients. An atom is
/// a symbol, an index, or anything else that is not + - * (div, mod, min, max, reads ...). Sizes never overflow i64.
struct Polynomial {
  std::map<std::vector<ir::Expr>, std::int64_t> terms;  // the empty monomial is the constant
  bool operator==(const Polynomial&) const = default;

  std::int64_t constant() const;
  bool is_constant() const;
};
Polynomial polynomial(const ir::ExprPool& pool, ir::Expr e);
Polynomial operator+(const Polynomial& a, const Polynomial& b);
Polynomial operator-(const Polynomial& a, const Polynomial& b);
Polynomial operator*(const Polynomial& a, const Polynomial& b);
/// Back to an expression, in one fixed order.
ir::Expr expression(ir::ExprPool& pool, const Polynomial& p);

class Ranges {
 public:
  /// Takes in the sizes (non-negative) and the requirements of the program.
  explicit Ranges(const ir::Program& program);

  /// e >= 0 at every point at which all of `facts` hold (the indices of e and of the facts lie in their ranges).
  bool nonnegative(ir::Expr e, std::span<const ir::Expr> facts = {}) const;
  bool nonnegative(const Polynomial& p, std::span<const ir::Expr> facts = {}) const;
  /// The condition holds / fails at every such point.
  bool holds(ir::Expr condition, std::span<const ir::Expr> facts = {}) const;
  bool fails(ir::Expr condition, std::span<const ir::Expr> facts = {}) const;
  /// Every subscript of a read lies inside the tensor; kChecked reads count as unproved.
  bool in_range(ir::Expr read, std::span<const ir::Expr> facts = {}) const;
  /// Reading all of `e` is harmless wherever `facts` hold; guards inside `e` count.
  bool reads_in_range(ir::Expr e, std::span<const ir::Expr> facts = {}) const;

 private:
  const ir::Program& program_;
  std::vector<Polynomial> known_;          // >= 0
  std::vector<ir::SymbolId> nonnegative_;  // symbols that are sizes
  void add_facts(ir::Expr condition, std::vector<Polynomial>& facts) const;
  bool reads_below_in_range(ir::Expr e, std::span<const ir::Expr> facts) const;
  bool prove(Polynomial p, const std::vector<Polynomial>& facts, int depth, int& budget) const;
  std::optional<int> sign(const Polynomial& p) const;
};

}  // namespace quern::compiler
