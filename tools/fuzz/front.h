// A case's program, checked with the case's compile-time values. In: text, case. Out: the index program or diagnostics.
#pragma once

#include <memory>
#include <string>

#include "dsl/ir/program.h"
#include "tools/fuzz/case.h"

namespace quern::fuzz {

struct Checked {
  std::unique_ptr<ir::Program> program;  // null: does not check
  std::string diagnostics;               // rendered
};

Checked check_case(const std::string& text, const Case& which);

}  // namespace quern::fuzz
