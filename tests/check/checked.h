// Shared by the checker's tests: parse and check a text with one kernel, print what it became, say what was wrong.
#pragma once

#include <string>

#include "dsl/check/check.h"
#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "dsl/syntax/parse.h"

namespace quern::dsl::test {

struct Checked {
  Source source;
  Diagnostics diagnostics;
  ast::File file;
  std::optional<ir::Program> program;
  std::string errors;

  explicit Checked(std::string text, const Bindings& bindings = {}) : source("t.quern", std::move(text)) {
    file = parse(source, diagnostics);
    if (!diagnostics.has_errors())
      for (const ast::Item& item : file.items)
        if (const auto* kernel = std::get_if<ast::Kernel>(&item.node))
          program = check(*kernel, &file, source, bindings, diagnostics);
    errors = render(diagnostics, source);
  }

  /// The statements of the printed program, without the signature.
  std::string body() const {
    if (!program) return errors;
    const std::string text = ir::print_program(*program);
    const std::size_t from = text.find("{\n");
    return text.substr(from + 2, text.rfind('}') - from - 2);
  }
};

}  // namespace quern::dsl::test
