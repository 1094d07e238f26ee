// The passes of every back end, then tiles for blocks of threads: a warp plays the part of a vector of 32 lanes.
#include "compiler/codegen/cuda/plan_cuda.h"

#include "compiler/compile.h"

namespace quern::cuda {

tile::Module plan_for_cuda(ir::Program program, const CudaOptions& options, const compiler::PassOptions& passes) {
  compiler::CompileOptions compile;
  compile.passes = passes;
  compile.plan.gpu = true;
  compile.plan.layouts = options.layouts;
  compile.plan.target.vector_bytes = 128;
  compile.plan.target.registers = 32;
  return compiler::compile(std::move(program), compile);
}

}  // namespace quern::cuda
