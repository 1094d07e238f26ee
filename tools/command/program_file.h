// A program text from a file to a checked program of one of its kernels. The one idea: every subcommand reads programs
// through here, so diagnostics look the same everywhere, and a missing kernel always gets the list and the nearest name.
#pragma once

#include <string>
#include <vector>

#include "dsl/syntax/ast.h"
#include "dsl/text/diagnostic.h"
#include "dsl/text/source.h"
#include "tools/command/session.h"

namespace quern::command {

/// Reads FILE, or stdin for "-". Throws Failure{data} naming the file.
std::string read_text(const std::string& path);
/// Writes through a temporary file beside it, so that a failure leaves the old content.
void write_text(const std::string& path, const std::string& text);

/// Names of the kernels in a file, in order.
std::vector<std::string> kernel_names(const dsl::ast::File& file);

/// The kernel to take: `wanted`, or the only one. Throws Failure{usage} otherwise, with the names.
const dsl::ast::Kernel& choose_kernel(const dsl::ast::File& file, const std::string& wanted, const std::string& path);

/// One JSON object per diagnostic: code, severity, message, line, column, label, notes, fix.
Json to_json(const dsl::Diagnostics& diagnostics, const dsl::Source& source);

}  // namespace quern::command
