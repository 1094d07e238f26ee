// Which devices this build has, and what their code depends on.
#include "runtime/device.h"

#include <fmt/format.h>

#ifdef QUERN_LLVM
#include "compiler/codegen/cpu/compile_cpu.h"
#endif

namespace quern::runtime {

#ifdef QUERN_LLVM
bool has_cpu() { return true; }
#else
bool has_cpu() { return false; }
std::shared_ptr<const Executable> compile_for_cpu(const CompileRequest&) {
  throw Error(Code::unsupported, "error: this build has no CPU code generator");
}
#endif

std::string device_key([[maybe_unused]] Device device, [[maybe_unused]] const Options& options) {
#ifdef QUERN_LLVM
  if (device == Device::cpu) {
    const cpu::Target target = options.target.empty() ? cpu::host_target() : cpu::target_named(options.target);
    return fmt::format("cpu|{}|{}|{}|{}", cpu::kAbiVersion, cpu::compiler_version(), target.cpu, target.features);
  }
#endif
  return "interpreter";
}

}  // namespace quern::runtime
