// Every operator on every type it computes in, division by constants, every pair of element types: what the texts are
// tested on.
// One function per case, named by what it does, with one operand per array.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dsl/ir/expr.h"

namespace quern::cuda::test {

struct Case {
  std::string name;                  // of the generated function: "op_add_f32", "cast_f64_bf16"
  bool is_cast = false;
  ir::Op op = ir::Op::add;
  DType from = DType::f32;           // of the operands (`where`: of the branches)
  DType to = DType::f32;             // of the result
  std::vector<DType> operands;       // one per argument that is not a constant
  std::optional<std::int64_t> second;  // the second argument where it is a constant
  std::string value;                 // result as a value; the operands are values named a, b, c
};

const std::vector<Case>& cases();

/// C++ statements: loads a, b, c of the case from arrays x, y, z of stored elements at i, stores the result to out[i].
std::string body(const Case& c);
/// Parameters of a function around `body`: "const float* x, ..., float* out".
std::string parameters(const Case& c);

}  // namespace quern::cuda::test
