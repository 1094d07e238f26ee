// Which devices this build has, and what their code depends on.
#include "runtime/device.h"

#include <exception>
#include <new>

#include <fmt/format.h>

#include "dsl/ir/print_program.h"
#include "runtime/signature.h"
#include "runtime/tuned.h"
#ifdef QUERN_LLVM
#include "compiler/codegen/cpu/compile_cpu.h"
#include "runtime/cpu/target_option.h"
#endif
#ifdef QUERN_CUDA
#include "runtime/cuda/device_cuda.h"
#endif

namespace quern::runtime {

#ifdef QUERN_LLVM
bool has_cpu() { return true; }

cpu::Target target_of(const Options& options) {
  if (options.target.empty()) return cpu::host_target();
  for (const char* known : {"host", "avx512", "avx2", "baseline"})
    if (options.target == known) {
      cpu::Target target = cpu::target_named(options.target);
      if (!cpu::runs_here(target)) throw Error(Code::unsupported, fmt::format("error: this processor cannot run code for '{}'", options.target));
      return target;
    }
  throw Error(Code::invalid_argument, fmt::format("error: no target '{}'; there are host, avx512, avx2 and baseline", options.target));
}

#else
bool has_cpu() { return false; }
std::shared_ptr<const Executable> compile_for_cpu(const CompileRequest&) {
  throw Error(Code::unsupported, "error: this build has no CPU code generator");
}
#endif

#ifdef QUERN_CUDA
bool has_cuda() { return true; }
#else
bool has_cuda() { return false; }
std::shared_ptr<const Executable> compile_for_cuda(const CompileRequest&) {
  throw Error(Code::unsupported, "error: this build has no CUDA device");
}
#endif

std::shared_ptr<const Executable> compile_for(Device device, const CompileRequest& asked) {
  Options chosen;
  const CompileRequest request = as_chosen(device, asked, chosen);
  // A fault of the compiler brings its repro along: the checked program, with what was fixed in it.
  const auto with_program = [&](std::string what) {
    const std::string prefix = "error: internal fault";
    if (what.rfind(prefix, 0) != 0) what = prefix + ": " + what;
    std::string off;
    for (const std::string& pass : request.options->disabled) off += " without=" + pass;
    return Error(Code::internal, fmt::format("{}\nPlease report it with this program{}:\n{}", what, off, ir::print_program(*request.program)));
  };
  try {
    switch (device) {
      case Device::cpu: return compile_for_cpu(request);
      case Device::cuda: return compile_for_cuda(request);
      default: return compile_for_interpreter(request);
    }
  } catch (const Error& e) {
    if (e.code() != Code::internal) throw;
    throw with_program(e.message());
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    throw with_program(e.what());
  }
}

std::vector<SignatureField> device_fields([[maybe_unused]] Device device, [[maybe_unused]] const Options& options) {
#ifdef QUERN_LLVM
  if (device == Device::cpu) {
    const cpu::Target target = target_of(options);
    return {{"device", "cpu"},           {"code generator", "llvm " QUERN_LLVM_VERSION}, {"abi", std::to_string(cpu::kAbiVersion)},
            {"processor", target.cpu}, {"features", target.features},                  {"level", target.name}};
  }
#endif
#ifdef QUERN_CUDA
  if (device == Device::cuda) {
    const quern::cuda::Target target = gpu::target_of(options);
    // Not NVRTC's version, which would have to be opened to be asked: the entry says who made it (cuda/gpu_image.h).
    return {{"device", "cuda"},
            {"abi", std::to_string(cpu::kAbiVersion)},
            {"architecture", quern::cuda::name_of(target)},
            {"shared memory", fmt::format("{} bytes", target.shared_bytes)},
            {"multiprocessors", std::to_string(target.multiprocessors)}};
  }
#endif
  return {{"device", "interpreter"}};
}

}  // namespace quern::runtime
