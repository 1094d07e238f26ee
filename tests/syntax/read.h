// Shared by the syntax tests: parse a text, and say what was wrong with it.
#pragma once

#include <string>

#include "dsl/syntax/parse.h"
#include "dsl/syntax/print.h"
#include "dsl/text/diagnostic.h"

namespace quern::dsl::test {

struct Read {
  Source source;
  Diagnostics diagnostics;
  ast::File file;
  std::string errors;

  explicit Read(std::string text) : source("t.quern", std::move(text)) {
    file = parse(source, diagnostics);
    errors = render(diagnostics, source);
  }
};

}  // namespace quern::dsl::test
