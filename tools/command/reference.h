// The interpreter's answer for a call, as the judge of a device's. The one idea: outputs too large
// to interpret whole are sampled, always including the first and last element, and the report says how many were checked.
#pragma once

#include <string>
#include <vector>

#include "compiler/interpreter/verify.h"
#include "tools/command/arguments.h"
#include "tools/command/session.h"

namespace quern::command {

/// An output by name.
struct NamedArray {
  std::string name;
  npy::Array array;
};

struct ReferenceOptions {
  double budget = 2e8;   // operations to spend: more of them means more samples
  std::uint64_t seed = 1;
};

/// Every tensor with role output in order of the program: what `interpret` calls Results::outputs.
std::vector<ir::TensorId> outputs_of(const ir::Program& program);

struct Verdict {
  compiler::Report report;
  std::int64_t checked = 0, total = 0;  // elements
  std::string message(const ir::Program& program) const;
  Json json(const ir::Program& program) const;
};
/// `actual` by outputs_of(program). Throws Failure{data} when the interpreter refuses or the data breaks a fact.
Verdict verify_outputs(const ir::Program& program, const Arguments& arguments, const std::vector<NamedArray>& actual,
                       const ReferenceOptions& options);

}  // namespace quern::command
