// The list of passes and its runner. In: a checked program. Out: the program in flat form, ready to be scheduled.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "dsl/ir/program.h"

namespace quern::compiler {

struct Pass {
  std::string_view name;  // function = file = name on the command line
  bool (*run)(ir::Program&);
  bool required;  // later stages need what it ensures: cannot be switched off
  std::string_view reason;
};

/// In order; a pass may stand in it several times.
std::span<const Pass> passes();

struct PassOptions {
  std::set<std::string, std::less<>> off;  // names; required passes run all the same
  bool verify = false;                     // verify_program after each pass; a fault throws std::logic_error that names the pass
  /// Called after each pass that ran.
  std::function<void(const Pass& pass, const ir::Program& program, bool changed, double seconds)> after;
};

void run_passes(ir::Program& program, const PassOptions& options = {});

}  // namespace quern::compiler
