// From what stands on the command line (`q=random:[2,3]`, `--set D=64`) and a checked program to the data of a call. The
// one idea: sizes flow: shapes that are given bind symbols, the symbols give every shape that was left out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "dsl/ir/program.h"
#include "dsl/syntax/ast.h"
#include "tools/command/evaluate.h"
#include "tools/command/spec.h"

namespace quern::command {

/// A compile-time value or a size, as `--set` gives it.
struct Fixed {
  std::string name;
  bool is_type = false;
  bool compile_time = false;  // stands in the kernel's <...>
  std::int64_t value = 0;     // of a type: the DType
};

/// The command line, sorted by what the kernel's signature says a name is.
struct Request {
  std::vector<Fixed> fixed;
  std::map<std::string, Spec> specs;  // by parameter
};

/// `assignments` are NAME=SPEC, `settings` NAME=VALUE. Names that stand nowhere in the signature are an error with the
/// nearest one. An element type that is not set is that of a .npy file given for such a parameter, or f32.
Request read_request(const dsl::ast::Kernel& kernel, const std::vector<std::string>& assignments,
                     const std::vector<std::string>& settings);

struct ArgumentsOptions {
  bool fill_missing = false;  // parameters that are not given are random (bench); otherwise an error
  std::uint64_t seed = 0;
};

/// The data of a call.
struct Arguments {
  std::vector<npy::Array> tensors;              // by position in program.parameters; inout: entry values
  std::vector<std::optional<double>> scalars;   // by position in program.scalar_parameters; none: the default
  Bindings bindings;                            // every symbol that could be bound, scalars with their defaults, tensors
};

/// Throws Failure naming the parameter and what is wrong or missing.
Arguments make_arguments(const ir::Program& program, const Request& request, const ArgumentsOptions& options);

/// Symbols bound from --set alone, for forms that take no data (explain, inspect).
Bindings bindings_of(const ir::Program& program, const Request& request);

/// Names of sizes that have no value yet.
std::vector<std::string> unbound_sizes(const ir::Program& program, const Bindings& bindings);

}  // namespace quern::command
