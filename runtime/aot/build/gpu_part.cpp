// See gpu_part.h.
#include "runtime/aot/build/gpu_part.h"

#include <fmt/format.h>

#ifdef QUERN_CUDA
#include "runtime/cuda/compile_nvrtc.h"
#include "runtime/cuda/device_cuda.h"
#include "runtime/lowered.h"
#endif

namespace quern::runtime::aot {

#ifdef QUERN_CUDA
GpuPart compile_gpu_part(const CompileRequest& request, const std::string& target) {
  GpuPart part;
  Variant& v = part.variant;
  v.gpu = quern::cuda::target_named(target).value();
  const tile::Module tiles = gpu::plan(request, v.gpu);
  quern::cuda::CudaModule printed = gpu::print(tiles, request, v.gpu);
  if (!printed.error.empty())
    throw Error(Code::internal, fmt::format("error: internal fault while generating CUDA text for kernel '{}': {}", tiles.program.name, printed.error));
  if (!printed.launches.empty()) part.cubin = gpu::compile_nvrtc(printed.text, v.gpu).cubin;
  if (!printed.launches.empty() && part.cubin.empty())
    throw Error(Code::unsupported, fmt::format("error: this NVRTC makes no machine code for {}; a newer CUDA toolkit does", target));
  v.may_share = sharing_of(tiles, Binding(tiles.program));
  v.program = std::move(printed.program);
  v.launches = std::move(printed.launches);
  v.workspace = std::move(printed.workspace);
  return part;
}
#else
GpuPart compile_gpu_part(const CompileRequest&, const std::string& target) {
  throw Error(Code::unsupported, fmt::format("error: this build has no CUDA, which target '{}' needs", target));
}
#endif

}  // namespace quern::runtime::aot
