#include "compiler/compile.h"

#include "compiler/mutants/mutate.h"

namespace quern::compiler {

tile::Module compile(ir::Program program, const CompileOptions& options) {
  run_passes(program, options.passes);
  tile::Module module = lower_to_tiles(std::move(program), options.plan);
  for (const std::string_view mutant : mutants())  // none outside of test builds
    if (options.passes.off.contains("mutant:" + std::string(mutant))) mutate(module, mutant);
  return module;
}

}  // namespace quern::compiler
