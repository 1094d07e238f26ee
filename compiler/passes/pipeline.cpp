// The order of the passes, and the runner (pipeline.h).
#include "compiler/passes/pipeline.h"

#include <chrono>
#include <stdexcept>

#include "compiler/passes/passes.h"
#include "dsl/ir/verify_program.h"

namespace quern::compiler {

std::span<const Pass> passes() {
  static constexpr Pass list[] = {
      {"bind_sizes", bind_sizes, false, "constants first: everything after folds with them"},
      {"simplify", simplify, false, "guards that a bound flag decides vanish before they are inherited"},
      {"flatten", flatten, true, "every later pass looks at one binding form at a time"},
      {"merge_equal", merge_equal, false, "equal arguments of composites give one set of temps"},
      {"expand_composites", expand_composites, true, "after flatten, so that no argument is computed twice"},
      {"split_slices", split_slices, false, "before inlining: what is read at [0] and [1] is two things"},
      {"inline_pointwise", inline_pointwise, false, "puts weights and scores into the sums that use them, for hoisting to see"},
      {"recompute_gathers", recompute_gathers, false, "after inlining brought the picked elements to where they are used"},
      {"guards_to_domains", guards_to_domains, false, "after inlining brought the guards into the sums"},
      {"distribute_sums", distribute_sums, false, "weights with divisors of their own need sums of their own"},
      {"hoist_invariants", hoist_invariants, false, "divisors leave sums: what is left streams"},
      {"skip_dead_exponents", skip_dead_exponents, false, "masks written as where(c, s, -inf) become domains too"},
      {"inline_pointwise", inline_pointwise, false, "hoisting left pointwise bodies where sums were"},
      {"hoist_invariants", hoist_invariants, false, "and those may hold invariants of the sums that read them"},
      {"simplify", simplify, false, "index arithmetic of inlined reads"},
      {"merge_equal", merge_equal, false, "maxima and sums that several composites share"},
      {"plan_contractions", plan_contractions, false, "last: it only regroups what is left of a sum"},
      {"merge_equal", merge_equal, false, "partial products that several contractions share"},
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
