// Inputs for a case and the verdict on its outputs, wherever they were computed. Floats are judged by the interpreter's
// bounds on exact operands, the rest bit for bit by dtype.h and fold_integer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/cuda_codegen/cases.h"

namespace quern::cuda::test {

struct Inputs {
  std::int64_t count = 0;
  std::array<std::vector<std::uint8_t>, 3> stored;  // per operand: `count` elements of its type
};
/// Special values in all combinations, exhaustive small types and halves between them for casts, random ones of all sizes.
Inputs inputs_of(const Case& c);

struct Verdict {
  std::int64_t wrong = 0;
  std::string first;      // what was wrong: "op_exp_f32(-3) gave 0, expected 0.049787 +- 1e-8"
  double worst = 0;       // largest error as a part of what is allowed
};
Verdict judge(const Case& c, const Inputs& in, const std::vector<std::uint8_t>& out);

/// One operand of an input or an output, for messages.
std::string shown(DType type, const void* stored);

}  // namespace quern::cuda::test
