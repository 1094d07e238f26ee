#include "compiler/compile.h"

namespace quern::compiler {

tile::Module compile(ir::Program program, const CompileOptions& options) {
  run_passes(program, options.passes);
  return lower_to_tiles(std::move(program), options.plan);
}

}  // namespace quern::compiler
