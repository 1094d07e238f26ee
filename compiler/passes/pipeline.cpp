// The order of the passes, and the runner (pipeline.h).
#include "compiler/passes/pipeline.h"

#include <chrono>
#include <stdexcept>

#include "compiler/passes/passes.h"
#include "dsl/ir/verify_program.h"

namespace quern::compiler {

std::span<const Pass> passes() {
  static constexpr Pass list[] = {
      {"flatten", flatten, true, "every later pass looks at one binding form at a time"},
      {"expand_composites", expand_composites, true, "after flatten, so that no argument is computed twice"},
  };
  return list;
}

void run_passes(ir::Program& program, const PassOptions& options) {
  using Clock = std::chrono::steady_clock;
  for (const Pass& pass : passes()) {
    if (!pass.required && options.off.contains(pass.name)) continue;
    const auto start = Clock::now();
    const bool changed = pass.run(program);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (options.verify) {
      const auto faults = ir::verify_program(program);
      if (!faults.empty()) throw std::logic_error("quern internal error: after " + std::string(pass.name) + ": " + faults.front());
    }
    if (options.after) options.after(pass, program, changed, seconds);
  }
}

}  // namespace quern::compiler
