// From a checked program to tile kernels planned for blocks of GPU threads.
#pragma once

#include "compiler/codegen/cuda/compile_cuda.h"
#include "compiler/passes/pipeline.h"

namespace quern::cuda {

/// requires: a verified program whose compile-time values are bound as far as the caller wants them fixed.
tile::Module plan_for_cuda(ir::Program program, const CudaOptions& options, const compiler::PassOptions& passes = {});
/// The same for a program that compiler::settle gave.
tile::Module lower_for_cuda(ir::Program program, const CudaOptions& options, const compiler::PassOptions& passes = {});

}  // namespace quern::cuda
