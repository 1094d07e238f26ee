// Random valid programs. In: a seed. Out: a kernel as text with its case line.
// The one idea: valid by construction. A statement is grown over indices whose sizes are known, and where an expression
// needs a tensor over some of them, a parameter of that shape is declared; so nothing has to be repaired afterwards.
#pragma once

#include <cstdint>
#include <string>

namespace quern::fuzz {

struct GenerateOptions {
  bool exact = false;      // only what is exact on small whole numbers: outputs must have the interpreter's bits
  bool large = false;      // sizes up to about 200
};

/// The program text: one kernel called `fuzz` under its `#:` line.
std::string generate(std::uint64_t seed, GenerateOptions options = {});

}  // namespace quern::fuzz
