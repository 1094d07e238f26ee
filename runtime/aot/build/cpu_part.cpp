// See cpu_part.h. Without LLVM in the build every call says so.
#include "runtime/aot/build/cpu_part.h"

#include <fmt/format.h>

#include <quern/error.h>

#ifdef QUERN_LLVM
#include "compiler/codegen/cpu/code_generator.h"
#include "compiler/compile.h"
#include "runtime/aot/processor.h"
#include "runtime/later.h"
#include "runtime/lowered.h"
#endif

namespace quern::runtime::aot {

#ifdef QUERN_LLVM
namespace {

cpu::Target cpu_target(const std::string& name) {
  switch (level_named(name)) {
    case 4: return cpu::target_named("avx512");
    case 3: return cpu::target_named("avx2");
    default: return cpu::target_named("baseline");
  }
}

}  // namespace

CpuPart lower_cpu_part(const CompileRequest& request, const std::string& target, const std::string& prefix, Variant& variant) {
  CpuPart part;
  part.prefix = prefix;
  compiler::CompileOptions options;
  options.plan.target = part.options.target = cpu_target(target);
  options.plan.layouts = layouts_of(Binding(*request.program), request);
  part.module = compiler::compile(*request.program, options);
  const Binding binding(part.module.program);
  part.options.layouts = layouts_of(binding, request);
  variant.may_share = sharing_of(part.module, binding);
  variant.workspace = part.module.workspace;
  variant.program = described(part.module.program, variant.workspace);
  return part;
}

std::string write_object(const cpu::ObjectRequest& request, const std::string& file) {
  std::string error;
  const UnderWay under_way;  // a process that ends waits for LLVM
  const cpu::CodeGenerator* generator = cpu::code_generator(&error);
  if (!generator) throw Error(Code::unsupported, fmt::format("error: '{}' cannot be compiled: {}", file, error));
  cpu::CompiledObject object = generator->compile_object(request);
  if (!object.error.empty()) throw Error(Code::internal, fmt::format("error: internal fault while generating the object of '{}': {}", file, object.error));
  return std::move(object.object);
}
#else
CpuPart lower_cpu_part(const CompileRequest&, const std::string& target, const std::string&, Variant&) {
  throw Error(Code::unsupported, fmt::format("error: this build has no LLVM, which target '{}' needs", target));
}
std::string write_object(const cpu::ObjectRequest&, const std::string&) {
  throw Error(Code::unsupported, "error: this build has no LLVM, which writes the object; --source writes C for GPU targets instead");
}
#endif

}  // namespace quern::runtime::aot
