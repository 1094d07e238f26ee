// Parses, finds the kernel, binds those of its compile-time names that the case sets, checks.
#include "tools/fuzz/front.h"

#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"

namespace quern::fuzz {

Checked check_case(const std::string& text, const Case& which) {
  Checked out;
  const dsl::Source source("program", text);
  dsl::Diagnostics diagnostics;
  const dsl::ast::File file = dsl::parse(source, diagnostics);
  const dsl::ast::Kernel* kernel = diagnostics.has_errors() ? nullptr : dsl::find_kernel(file, which.kernel, diagnostics);
  if (kernel) {
    dsl::Bindings bindings;
    for (const dsl::ast::CompileTime& name : kernel->compile_time) {
      const auto given = which.settings.find(name.name.text);
      if (given == which.settings.end()) continue;
      const std::string& value = given->second;
      if (name.kind == dsl::ast::CompileTimeKind::type) {
        if (const auto type = dtype_from_name(value)) bindings.types[name.name.text] = *type;
      } else {
        bindings.values[name.name.text] = value == "true" ? 1 : value == "false" ? 0 : std::stoll(value);
      }
    }
    if (auto program = dsl::check(*kernel, &file, source, bindings, diagnostics); program && !diagnostics.has_errors())
      out.program = std::make_unique<ir::Program>(std::move(*program));
  }
  out.diagnostics = dsl::render(diagnostics, source);
  return out;
}

}  // namespace quern::fuzz
