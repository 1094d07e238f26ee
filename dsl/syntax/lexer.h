// Bytes to tokens. In: a Source. Out: all tokens (the last is `end`), the comments, and diagnostics for what is neither.
// The one idea: a newline is no token but a flag on the next one, since only the parser knows whether a bracket is open.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dsl/syntax/ast.h"
#include "dsl/text/diagnostic.h"

namespace quern::dsl {

enum class TokenKind : std::uint8_t { end, name, number, string, mark };

struct Token {
  TokenKind kind = TokenKind::end;
  bool starts_line = false;  // the first token of its line
  bool real = false;         // number with a point or an exponent
  Span span;
};

struct Tokens {
  std::vector<Token> list;
  std::vector<ast::Comment> comments;
};

Tokens tokenize(const Source& source, Diagnostics& diagnostics);

}  // namespace quern::dsl
