// Judges what a back end computed: the interpreter's values with their bounds and the actual tensors go in, a verdict
// with the first offending element comes out.
#pragma once

#include <string>
#include <vector>

#include "compiler/interpreter/interpret.h"

namespace quern::compiler {

struct OutputReport {
  ir::TensorId tensor = 0;
  std::int64_t checked = 0;
  std::int64_t wrong = 0;
  std::int64_t undecided = 0;  // elements whose bound accepts anything
  double max_error = 0;        // largest |got - expected| among finite elements
  double max_ratio = 0;        // largest |got - expected| / allowed; at most 1 when all is well
  // The first wrong element, when there is one.
  std::vector<std::int64_t> index;
  std::string expected, got;  // printed values; expected with its bound
};

struct Report {
  std::vector<OutputReport> outputs;  // in order of Results::outputs
  bool ok = true;
  std::string message;  // of the first wrong element: "o[0, 3]: expected 1.25 +- 1e-06, got 2.5"; empty when ok
};

/// `actual`: one view per Results::outputs, in that order.
Report verify(const ir::Program& program, const Results& results, const std::vector<TensorView>& actual);

}  // namespace quern::compiler
