// Index IR as text: a program goes in, the language's own index form comes out, one statement a line. Checking that
// text gives the same program again (up to numbering), so the printed form is both the debugging view and a test.
#pragma once

#include <string>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::ir {

/// The program as a kernel in index form. Casts are written out, save those that promotion puts back by itself (a small
/// float read in arithmetic, and the permitted rounding of a contraction factor).
std::string print_program(const Program& program);

/// How names are spelled: one per index and per tensor of the program.
struct Names {
  std::vector<std::string> indices;
  std::vector<std::string> tensors;
};
/// Names without repeats over the whole program, for forms that show several equations at once (the tile IR).
Names unique_names(const Program& program);

/// One expression, every cast shown (a permitted one as `~f16(e)`). Binders show their ranges where no bare use does.
std::string print_expr(const Program& program, Expr e, const Names& names);
std::string print_expr(const Program& program, Expr e);

/// A float constant as the language reads it: shortest digits that give the same value of `type`.
std::string print_real(double value, DType type);

}  // namespace quern::ir
