// What data can break while a kernel runs, and how it is said. Apart from the interpreter, so that a program with compiled
// kernels can say it without one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// An index outside its tensor, or a fact that the data breaks.
struct Violation {
  ir::TensorId tensor = 0;  // read or written out of range; or whose `nondecreasing` does not hold
  int axis = 0;
  std::int64_t value = 0;  // the subscript; or the element that is smaller than the one before it
  std::int64_t extent = 0;
  std::optional<ir::TensorId> source;  // the tensor that held the subscript
  std::vector<std::int64_t> position;  // of the value in `source` (or in `tensor`, for `nondecreasing`)
  bool promised = false;               // the program proved or guarded this read: a fault of the compiler
};
std::string describe(const ir::Program& program, const Violation& violation);

}  // namespace quern::compiler
