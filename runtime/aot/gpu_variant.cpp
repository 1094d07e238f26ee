// See gpu_variant.h. Without CUDA in the build every call says so.
#include "runtime/aot/gpu_variant.h"

#include <fmt/format.h>

#ifdef QUERN_CUDA
#include "runtime/cuda/copies.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/module.h"
#include "runtime/data_error.h"
#endif

namespace quern::runtime::aot {

#ifdef QUERN_CUDA

struct GpuVariant::State {
  const Variant& variant;
  const Binding& binding;
  gpu::Module module;
  State(const Variant& v, const Binding& binding, const char* cubin)
      : variant(v), binding(binding), module(binding, printed(v), compiled(v, cubin), v.gpu) {}
  static quern::cuda::CudaModule printed(const Variant& v) {
    quern::cuda::CudaModule module;
    module.program = v.program;
    module.launches = v.launches;
    module.workspace = v.workspace;
    return module;
  }
  static gpu::CompiledText compiled(const Variant& v, const char* cubin) {
    gpu::CompiledText text;
    text.cubin.assign(cubin, v.cubin_bytes);
    return text;
  }
};

GpuVariant::GpuVariant(const Variant& variant, const Binding& binding, const char* cubin)
    : state_(std::make_unique<State>(variant, binding, cubin)) {}

void GpuVariant::run(const Launch& launch) {
  gpu::Gpu& gpu = gpu::gpu_at(launch.options->gpu);
  const gpu::ModuleCall call{launch.tensors, launch.symbols, launch.scalars, static_cast<gpu::Stream>(launch.stream), true};
  try {
    if (!launch.wait) return state_->module.launch(gpu, call);
    gpu.require_alive();
    gpu::check_facts(gpu, call.stream, state_->binding, launch.tensors);
    const cpu::Status found = state_->module.run_and_wait(gpu, call);
    if (found.state != 0) throw_data_error(state_->variant.program, found);
  } catch (const gpu::Refused& refused) {
    throw Error(refused.code(), fmt::format("{}; make the object again by `quern compile --target {}`, with an NVRTC no newer than this driver, or install a newer driver",
                                            refused.message(), quern::cuda::name_of(gpu.target())));
  }
}

bool GpuVariant::runs_on(const quern::cuda::Target& target, int number) {
  const quern::cuda::Target& here = gpu::gpu_at(number).target();
  return target.accelerated ? here.sm == target.sm : here.sm / 10 == target.sm / 10 && here.sm >= target.sm;
}

std::string GpuVariant::name_of_gpu(int number) {
  const gpu::Gpu& gpu = gpu::gpu_at(number);
  return fmt::format("GPU {} ({}) is {}", number, gpu.name(), quern::cuda::name_of(gpu.target()));
}

#else

struct GpuVariant::State {};
[[noreturn]] static void fail() { throw Error(Code::unsupported, "error: libquern-aot was built without CUDA"); }
GpuVariant::GpuVariant(const Variant&, const Binding&, const char*) { fail(); }
void GpuVariant::run(const Launch&) { fail(); }
bool GpuVariant::runs_on(const quern::cuda::Target&, int) { fail(); }
std::string GpuVariant::name_of_gpu(int) { fail(); }

#endif

GpuVariant::~GpuVariant() = default;

}  // namespace quern::runtime::aot
