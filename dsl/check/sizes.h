// Sizes and index expressions of one program in normal form. In: interned i64 expressions. Out: their polynomials,
// equality, exact division, and text for messages.
// The one idea: symbols that `require A == B` made one are replaced on the way in, so equality is comparison of terms.
#pragma once

#include <string>
#include <unordered_map>

#include "dsl/check/normal_form.h"
#include "dsl/ir/program.h"

namespace quern::dsl {

/// How much is read into an expression.
enum class Reading : std::uint8_t {
  symbols,  // every symbol stays a symbol: what "equal sizes" means
  values,   // symbols fixed for this kernel are their values
  data,     // as `values`, and arithmetic on data of type i64 is taken not to wrap: for reads tested at run time only
};

class Sizes {
 public:
  explicit Sizes(ir::Program& program) : program_(program) {}

  const NormalForm& normal(ir::Expr e, Reading reading = Reading::symbols);
  /// The canonical expression of a normal form.
  ir::Expr expression(const NormalForm& form);

  /// Equal in normal form; or equal numbers where one of the two is written as a number.
  bool equal(ir::Expr a, ir::Expr b);
  /// a / b where that is exact as polynomials.
  std::optional<ir::Expr> divided(ir::Expr a, ir::Expr b);
  /// From now on a and b are one size. False when no symbol can stand for the other side.
  bool unify(ir::Expr a, ir::Expr b);

  /// As a program text would write it.
  std::string text(ir::Expr e) const;

 private:
  std::string text(ir::Expr e, int depth) const;
  NormalForm compute(ir::Expr e, Reading reading);

  ir::Program& program_;
  std::unordered_map<ir::Expr, NormalForm> cache_[3];
  std::unordered_map<ir::SymbolId, ir::Expr> same_;  // symbol -> what stands for it
};

}  // namespace quern::dsl
