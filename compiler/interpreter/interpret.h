// The meaning of a program: arguments go in, the value of each asked output element comes out together with an error
// bound, how far a correct implementation in the documented precision may be from it. No LLVM, no scheduling: the
// equations are evaluated as they stand, on demand, and remembered.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/interpreter/violation.h"
#include "dsl/ir/program.h"

namespace quern::compiler {

/// A tensor of the caller. `data` points at element [0, 0, ..]; strides count elements, may be negative or 0.
struct TensorView {
  const void* data = nullptr;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

/// Strides of a dense row-major tensor.
std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& shape);

/// Value of a scalar parameter: `real` for float types, `integer` for the others.
struct ScalarValue {
  double real = 0;
  std::int64_t integer = 0;
};

struct Arguments {
  std::vector<TensorView> tensors;  // one per Program::parameters (inout: the entry values)
  std::vector<ScalarValue>
      scalars;  // one per Program::scalars; a missing or default one is computed by `fill_defaults`
  std::vector<std::int64_t> symbols;  // one per Program::symbols; a fixed symbol's `value` wins
};

/// Computes the scalars the caller did not pass from their default expressions; `passed[i]` tells which were.
void fill_defaults(const ir::Program& program, const std::vector<bool>& passed, Arguments& arguments);

/// Value of an integer or bool expression over symbols alone (extents, ranges, requirements).
std::int64_t evaluate_size(const ir::Program& program, ir::Expr e, const std::vector<std::int64_t>& symbols);

struct InterpretOptions {
  std::size_t memory_limit = std::size_t{2} << 30;  // bytes of results and remembered values together
  /// Per output (order of Results::outputs): row-major positions to evaluate. Missing or nullopt: all of them.
  std::vector<std::optional<std::vector<std::int64_t>>> samples;
};

/// One output. A float element is right when it lies within [value - error, value + error] after rounding both ends to
/// the type; error = inf: anything is; value NaN or infinite with a finite error: exactly that is. An integer element
/// is right when it is within `error` of `integer`, or in its set where it has one.
struct OutputValues {
  ir::TensorId tensor = 0;
  DType type = DType::f32;
  std::vector<std::int64_t> shape;
  std::optional<std::vector<std::int64_t>> positions;  // row-major; nullopt: all, in order
  std::vector<double> values;                          // floats
  std::vector<std::int64_t> integers;                  // integers and bool
  std::vector<double> errors;
  std::unordered_map<std::size_t, std::vector<std::int64_t>> sets;  // ordinal -> admissible integers

  std::size_t count() const { return errors.size(); }
  std::int64_t position(std::size_t ordinal) const {
    return positions ? (*positions)[ordinal] : static_cast<std::int64_t>(ordinal);
  }
};

struct Results {
  std::vector<OutputValues> outputs;   // every tensor with role output, in order of Program::tensors
  std::optional<Violation> violation;  // the first offence found; outputs are then unspecified
  std::string error;                   // not empty: refused (memory, sizes), nothing was computed
};

/// Never throws on a well-formed program; requirements on sizes are the caller's to check.
Results interpret(const ir::Program& program, const Arguments& arguments, const InterpretOptions& options = {});

}  // namespace quern::compiler
