// Kernels compiled by LLVM as a device. In: a program fixed to one signature. Out: loaded code, which cpu_code.h runs.
#include <chrono>

#include <fmt/format.h>

#include "compiler/codegen/cpu/code_generator.h"
#include "compiler/codegen/cpu/load_object.h"
#include "compiler/compile.h"
#include "runtime/cpu/target_option.h"
#include "runtime/cpu_code.h"
#include "runtime/later.h"
#include "runtime/lowered.h"

namespace quern::runtime {
namespace {

class Compiled final : public Executable {
 public:
  explicit Compiled(const CompileRequest& request);
  void run(const Launch& launch) const override { runner_->run(launch); }
  bool may_share(std::size_t written, std::size_t read, std::string* why_not) const override;
  std::string explain() const override;

 private:
  std::shared_ptr<const ir::Program> checked_;
  tile::Module module_;
  Binding binding_;                         // of the module's program: its slots are those of the call
  std::unique_ptr<cpu::LoadedCpu> code_;
  std::vector<std::vector<std::uint8_t>> may_share_;  // [written slot][read slot]
  std::unique_ptr<const CpuCode> runner_;
  double compile_ms_ = 0;
};

Compiled::Compiled(const CompileRequest& request)
    : checked_(request.program),
      module_([&] {
        compiler::CompileOptions options;
        options.passes.off.insert(request.options->disabled.begin(), request.options->disabled.end());
        options.plan.target = target_of(*request.options);
        options.plan.layouts = layouts_of(Binding(*request.program), request);
        return compiler::compile(*request.program, options);
      }()),
      binding_(module_.program) {
  const auto start = std::chrono::steady_clock::now();
  cpu::CpuOptions options;
  options.target = target_of(*request.options);
  options.layouts = layouts_of(binding_, request);
  std::string error;
  const UnderWay under_way;  // a process that ends waits for LLVM
  const cpu::CodeGenerator* generator = cpu::code_generator(&error);
  if (!generator) throw Error(Code::unsupported, fmt::format("error: kernel '{}' cannot be compiled: {}", module_.program.name, error));
  const cpu::CompiledCpu compiled = generator->compile(module_, options);
  if (!compiled.error.empty()) throw Error(Code::internal, fmt::format("error: internal fault while generating code for kernel '{}': {}", module_.program.name, compiled.error));
  code_ = cpu::load_object(compiled.object, compiled.plan_symbol, compiled.run_symbols, &error);
  if (!code_) throw Error(Code::internal, fmt::format("error: internal fault while loading kernel '{}': {}", module_.program.name, error));

  may_share_ = sharing_of(module_, binding_);
  std::vector<cpu::RunFunction> run;
  for (std::size_t k = 0; k < module_.kernels.size(); ++k) run.push_back(code_->run(k));
  runner_ = std::make_unique<const CpuCode>(module_.program, module_.workspace, binding_, code_->plan(), std::move(run));
  compile_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

bool Compiled::may_share(std::size_t written, std::size_t read, std::string* why_not) const {
  if (may_share_[written][read]) return true;
  if (why_not) *why_not = sharing_refused(binding_, read);
  return false;
}

std::string Compiled::explain() const {
  std::string text = fmt::format("kernel {} on the CPU: {} kernel{}, {} tensor{} of workspace\n", module_.program.name, module_.kernels.size(),
                                 module_.kernels.size() == 1 ? "" : "s", module_.workspace.size(), module_.workspace.size() == 1 ? "" : "s");
  for (const tile::Kernel& k : module_.kernels) {
    text += "  " + k.name + "\n";
    for (const std::string& why : k.why) text += "    " + why + "\n";
  }
  return text;
}

}  // namespace

std::shared_ptr<const Executable> compile_for_cpu(const CompileRequest& request) { return std::make_shared<const Compiled>(request); }

}  // namespace quern::runtime
