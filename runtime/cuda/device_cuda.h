// A program on a GPU as an Executable. The parts: compiled text (compile_nvrtc), launches (module), copies of host tensors
// (copies); this ties them together.
#pragma once

#include <memory>

#include "compiler/codegen/cuda/compile_cuda.h"
#include "compiler/ir/tile.h"
#include "runtime/cuda/compile_nvrtc.h"
#include "runtime/device.h"

namespace quern::runtime::gpu {

/// What Options::target says: "" = the GPU of Options::gpu as it is (starts the driver), else a name ("sm_90a"). Throws
/// Error(unsupported) without a driver, Error(invalid_argument).
quern::cuda::Target target_of(const Options& options);

/// Compiles printed text; needs NVRTC and no GPU. `module` is what it was printed from.
std::shared_ptr<const Executable> compile_printed(tile::Module module, quern::cuda::CudaModule printed, const quern::cuda::Target& target);

/// How a checked program becomes tiles and text for a GPU.
tile::Module plan(const CompileRequest& request, const quern::cuda::Target& target);
quern::cuda::CudaModule print(const tile::Module& module, const CompileRequest& request, const quern::cuda::Target& target);

}  // namespace quern::runtime::gpu
