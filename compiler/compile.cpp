#include "compiler/compile.h"

#include <stdexcept>
#include <string>

#include "compiler/mutants/mutate.h"
#include "compiler/passes/canonical_form.h"

namespace quern::compiler {

namespace {

/// The tensors that callers know, in one order for both programs.
std::vector<ir::TensorId> known(const ir::Program& program) {
  std::vector<ir::TensorId> list = program.parameters;
  list.insert(list.end(), program.outputs.begin(), program.outputs.end());
  for (ir::TensorId parameter : program.parameters)
    for (ir::TensorId t = 0; t < program.tensors.size(); ++t)
      if (program.tensors[t].entry == parameter) list.push_back(t);
  return list;
}

}  // namespace

tile::Module compile(ir::Program program, const CompileOptions& options) {
  const std::vector<ir::TensorId> before = known(program);
  program = settle(std::move(program), options.passes);
  // What is known of the arguments goes with them to their new numbers.
  CompileOptions settled = options;
  settled.plan.layouts.assign(options.plan.layouts.empty() ? 0 : program.tensors.size(), {});
  const std::vector<ir::TensorId> after = known(program);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (before[i] < options.plan.layouts.size()) settled.plan.layouts[after[i]] = options.plan.layouts[before[i]];
  return lower(std::move(program), settled);
}

ir::Program settle(ir::Program program, const PassOptions& options) {
  if (mutants().empty()) {
    run_passes(program, options);
  } else {  // a test build: "fault:PASS" among what is off makes that pass fail
    PassOptions passes = options;
    passes.after = [&](const Pass& pass, const ir::Program& now, bool changed, double seconds) {
      if (options.off.contains("fault:" + std::string(pass.name))) throw std::logic_error("quern internal error: a fault put into " + std::string(pass.name));
      if (options.after) options.after(pass, now, changed, seconds);
    };
    run_passes(program, passes);
  }
  return canonical_form(program);
}

tile::Module lower(ir::Program program, const CompileOptions& options) {
  tile::Module module = lower_to_tiles(std::move(program), options.plan);
  for (const std::string_view mutant : mutants())  // none outside of test builds
    if (options.passes.off.contains("mutant:" + std::string(mutant))) mutate(module, mutant);
  return module;
}

}  // namespace quern::compiler
