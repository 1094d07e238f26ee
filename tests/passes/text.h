// Kernels from text, for tests that start at the source.
#pragma once

#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <string>

#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

namespace quern::test {

/// Calls `use` with every kernel of the text, checked.
inline void for_each_kernel(const std::string& name, const std::string& text, const dsl::Bindings& bindings,
                            const std::function<void(const ir::Program&)>& use) {
  const dsl::Source source(name, text);
  dsl::Diagnostics diagnostics;
  const dsl::ast::File file = dsl::parse(source, diagnostics);
  for (const auto& item : file.items) {
    const auto* kernel = std::get_if<dsl::ast::Kernel>(&item.node);
    if (!kernel) continue;
    dsl::Diagnostics own;
    const auto program = dsl::check(*kernel, &file, source, bindings, own);
    INFO(name << ": " << kernel->name.text << "\n" << render(own, source));
    REQUIRE(program);
    use(*program);
  }
}

inline std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// The one kernel of a text.
inline ir::Program kernel(const std::string& text, const dsl::Bindings& bindings = {}) {
  std::optional<ir::Program> out;
  for_each_kernel("test", text, bindings, [&](const ir::Program& p) { out = p; });
  REQUIRE(out);
  return *out;
}

}  // namespace quern::test
