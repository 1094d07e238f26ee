// Syntax tree to canonical text: what `quern fmt` writes. parse(print(file)) equals file, and printing that again changes
// nothing. Comments are kept: at the end of their line, or on lines of their own.
#pragma once

#include <string>

#include "dsl/syntax/ast.h"
#include "dsl/text/source.h"

namespace quern::dsl {

/// The whole file. `source` is what it was read from (to place comments); null: comments are left out.
std::string print(const ast::File& file, const Source* source = nullptr);
std::string print(const ast::Expr& expr);
std::string print(const ast::Statement& statement);

}  // namespace quern::dsl
