// Values of size expressions, conditions and defaults of scalars, from the symbols of a call. Integers are 64 bits and an
// overflow is reported, never wrapped.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dsl/ir/program.h"

namespace quern::runtime {

struct Evaluation {
  const ir::Program* program;
  const std::int64_t* symbols;   // by SymbolId
  const double* scalars = nullptr;  // by ScalarId, for defaults that mention other scalars
  bool overflow = false;         // set by the first result that does not fit
};

/// An integer or bool expression. nullopt: overflow, or something that is not an expression over symbols.
std::optional<std::int64_t> evaluate_integer(Evaluation& e, ir::Expr expr);
/// Any expression, in f64.
std::optional<double> evaluate_real(Evaluation& e, ir::Expr expr);
/// The expression as the language writes it: "J*G", "N - W + 1".
std::string text_of(const ir::Program& program, ir::Expr expr);

}  // namespace quern::runtime
