// From the syntax tree of a kernel to the explicitly typed index IR. In: a parsed kernel, the functions of its file,
// and the compile-time values that are fixed. Out: an index program, or diagnostics; never throws on any tree. The one
// idea: after this nothing can fail on a user's program but the sizes of a call.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "dsl/ir/program.h"
#include "dsl/syntax/ast.h"
#include "dsl/text/diagnostic.h"

namespace quern::dsl {

/// What is fixed for this kernel: compile-time sizes, flags (0 or 1) and types, and any run-time size that the caller
/// wants fixed. Names that the kernel does not have are reported. An unbound integer stays a symbol (with its default
/// as its value), an unbound type is its default or f32.
struct Bindings {
  std::map<std::string, std::int64_t> values;
  std::map<std::string, DType> types;
};

/// `file` holds the functions that the kernel may call; null: none.
std::optional<ir::Program> check(const ast::Kernel& kernel, const ast::File* file, const Source& source,
                                 const Bindings& bindings, Diagnostics& diagnostics);

/// The kernel of that name; an empty name means the only one. Null, with a message, when there is none.
const ast::Kernel* find_kernel(const ast::File& file, std::string_view name, Diagnostics& diagnostics);

}  // namespace quern::dsl
