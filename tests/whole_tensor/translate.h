// Shared by these tests: the kernels of a text, checked and printed as index IR, or the messages.
#pragma once

#include <string>

#include "dsl/check/check.h"
#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "dsl/syntax/parse.h"

namespace quern::dsl::test {

struct Translated {
  std::string text;      // of all kernels, as index IR
  std::string messages;
  std::vector<std::string> faults;  // that the verifier finds
};

inline Translated translate(const std::string& text) {
  Translated result;
  const Source source("t.quern", text);
  Diagnostics reading;
  const ast::File file = parse(source, reading);
  result.messages = render(reading, source);
  if (reading.has_errors()) return result;
  for (const ast::Item& item : file.items) {
    const auto* kernel = std::get_if<ast::Kernel>(&item.node);
    if (kernel == nullptr) continue;
    Diagnostics diagnostics;
    const auto program = check(*kernel, &file, source, {}, diagnostics);
    result.messages += render(diagnostics, source);
    if (!program) continue;
    result.text += ir::print_program(*program);
    for (const std::string& fault : ir::verify_program(*program)) result.faults.push_back(fault);
  }
  return result;
}

}  // namespace quern::dsl::test
