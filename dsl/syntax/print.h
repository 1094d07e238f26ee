// Syntax tree to canonical text: what `quern fmt` writes. parse(print(file)) equals file, and printing that again changes
// nothing. Comments are kept: behind the statement whose last line they share, or else on lines of their own before it.
#pragma once

#include <string>

#include "dsl/syntax/ast.h"
#include "dsl/text/source.h"

namespace quern::dsl {

/// The whole file. `source` is what it was read from (to place comments and empty lines); null: both are left out.
std::string print(const ast::File& file, const Source* source = nullptr);
std::string print(const ast::Expr& expr);
std::string print(const ast::Statement& statement);

}  // namespace quern::dsl
