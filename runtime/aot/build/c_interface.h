// The C side of a kernel: its function's parameters, as an object needs them and as a header shows them.
#pragma once

#include <string>
#include <vector>

#include "compiler/codegen/cpu/compile_object.h"
#include "dsl/ir/program.h"
#include "runtime/bind.h"

namespace quern::runtime::aot {

struct CFunction {
  cpu::ObjectFunction made;
  std::string declaration;   // "quern_status attention(int64_t M, ...);"
  std::vector<std::string> names;  // of made.parameters
};

/// Throws Error(invalid_argument) when `symbol` cannot be the name of a C function.
CFunction c_function(const ir::Program& program, const Binding& binding, const std::string& symbol, const std::string& kernel, std::int32_t device);

/// Text of a user inside a comment: it can neither end the comment nor continue a line.
std::string harmless(std::string text);

struct HeaderEntry {
  std::string comment;   // lines without the comment's marks; any text
  std::string declaration;
};
std::string c_header(const std::string& name, const std::string& file, const std::vector<HeaderEntry>& entries);

}  // namespace quern::runtime::aot
