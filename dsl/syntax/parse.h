// Text to syntax tree. In: a Source. Out: what could be read, and diagnostics for the rest; never throws on any bytes.
// The one idea: recursive descent with one token of look-ahead; after an error it goes on at the next statement or kernel.
#pragma once

#include "dsl/syntax/ast.h"
#include "dsl/text/diagnostic.h"

namespace quern::dsl {

ast::File parse(const Source& source, Diagnostics& diagnostics);

}  // namespace quern::dsl
