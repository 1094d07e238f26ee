#include "compiler/compile.h"

#include <stdexcept>
#include <string>

#include "compiler/mutants/mutate.h"

namespace quern::compiler {

tile::Module compile(ir::Program program, const CompileOptions& options) {
  if (mutants().empty()) {
    run_passes(program, options.passes);
  } else {  // a test build: "fault:PASS" among what is off makes that pass fail
    PassOptions passes = options.passes;
    passes.after = [&](const Pass& pass, const ir::Program& now, bool changed, double seconds) {
      if (options.passes.off.contains("fault:" + std::string(pass.name))) throw std::logic_error("quern internal error: a fault put into " + std::string(pass.name));
      if (options.passes.after) options.passes.after(pass, now, changed, seconds);
    };
    run_passes(program, passes);
  }
  tile::Module module = lower_to_tiles(std::move(program), options.plan);
  for (const std::string_view mutant : mutants())  // none outside of test builds
    if (options.passes.off.contains("mutant:" + std::string(mutant))) mutate(module, mutant);
  return module;
}

}  // namespace quern::compiler
