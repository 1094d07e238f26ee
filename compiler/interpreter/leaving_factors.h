// What the language lets leave a sum: the term of a sum goes in, its factors that do not vary along every summed axis
// and the rest come out. An infinite factor that is moved out meets partial sums instead of terms, so a NaN that only
// its products made (inf * 0, inf - inf) need not be there; a NaN of any one factor, or of the rest, is.
// A sum over a difference of normalised weights may also become one sum per weight: what the difference is multiplied
// with then meets weights of both signs, and infinite it gives NaN.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::interpreter {

struct LeavingFactors {
  std::vector<std::pair<ir::Expr, bool>> factors;  // and whether it divides
  ir::Expr rest;                                   // none: 1
  std::vector<ir::Expr> beside_weights;            // factors beside a difference of normalised weights
};

/// `axes`: those summed over that have more than one point. `definition` gives the equation that defines a temp, or null.
LeavingFactors leaving_factors(ir::Program& program, ir::Expr term, const std::vector<ir::IndexId>& axes,
                               const std::function<const ir::Equation*(ir::TensorId)>& definition);

}  // namespace quern::interpreter
