// tile::Module -> ELF object: builds LLVM IR in its final form and runs code generation, without LLVM's optimisation
// pipeline. Each compile has a context and a target machine of its own, so compiles may run side by side.
#include "compiler/codegen/cpu/compile_cpu.h"

#include <fmt/format.h>
#include <llvm/ADT/StringExtras.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Target/TargetOptions.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/Transforms/Utils/Cloning.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "compiler/codegen/cpu/lower_kernel.h"
#include "compiler/codegen/cpu/machine.h"

namespace quern::cpu {

namespace {

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
}

/// LLVM's feature string of this processor: "+avx2,+fma,...", every feature that it looks for by its sign.
std::string host_features() {
  const llvm::StringMap<bool> found = llvm::sys::getHostCPUFeatures();
  std::vector<std::string> list;
  for (const auto& entry : found) list.push_back(fmt::format("{}{}", entry.second ? '+' : '-', std::string_view(entry.first())));
  std::sort(list.begin(), list.end());
  return llvm::join(list, ",");
}

}  // namespace

std::unique_ptr<llvm::TargetMachine> machine_for(const Target& target, std::string* error) {
  initialise();
  const std::string triple = "x86_64-unknown-linux-gnu";
#if LLVM_VERSION_MAJOR >= 21
  const llvm::Triple name(triple);
#else
  const std::string& name = triple;
#endif
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(name, *error);
  if (!found) return nullptr;
  llvm::TargetOptions options;
  const std::string cpu = target.host ? llvm::sys::getHostCPUName().str() : target.cpu;
  const std::string features = target.host ? host_features() : target.features;
  std::unique_ptr<llvm::TargetMachine> machine(
      found->createTargetMachine(name, cpu, features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  if (!machine) *error = "no target machine for " + target.cpu;
  return machine;
}

std::string emit(llvm::TargetMachine& machine, llvm::Module& module, llvm::CodeGenFileType type, std::string* error) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, out, nullptr, type, true)) {
    *error = "this target cannot write " + std::string(type == llvm::CodeGenFileType::ObjectFile ? "objects" : "assembly");
    return {};
  }
  passes.run(module);
  return {bytes.begin(), bytes.end()};
}

void describe_machine(llvm::Module& module, const llvm::TargetMachine& machine) {
  module.setDataLayout(machine.createDataLayout());
#if LLVM_VERSION_MAJOR >= 21
  module.setTargetTriple(machine.getTargetTriple());
#else
  module.setTargetTriple(machine.getTargetTriple().str());
#endif
}

std::string undefined_symbols(const std::string& object) {
  auto file = llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(object, "object"));
  if (!file) return llvm::toString(file.takeError());
  std::string names;
  for (const llvm::object::SymbolRef& symbol : (*file)->symbols()) {
    auto flags = symbol.getFlags();
    if (!flags) {
      llvm::consumeError(flags.takeError());
      continue;
    }
    if (!(*flags & llvm::object::SymbolRef::SF_Undefined)) continue;
    auto name = symbol.getName();
    if (!name) {
      llvm::consumeError(name.takeError());
      continue;
    }
    if (name->empty() || *name == "_GLOBAL_OFFSET_TABLE_") continue;
    names += (names.empty() ? "" : ", ") + name->str();
  }
  return names;
}

namespace {

double milliseconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

}  // namespace

CompiledCpu compile_cpu(const tile::Module& module, const CpuOptions& options) {
  CompiledCpu result;
  const auto started = std::chrono::steady_clock::now();
  std::string error;
  const auto machine = machine_for(options.target, &error);
  if (!machine) {
    result.error = error;
    return result;
  }
  llvm::LLVMContext context;
  llvm::Module out("quern", context);
  describe_machine(out, *machine);
  result.plan_symbol = "quern_plan";
  try {
    lower_plan(out, module, options, result.plan_symbol);
    for (std::size_t k = 0; k < module.kernels.size(); ++k) {
      result.run_symbols.push_back("quern_k" + std::to_string(k));
      lower_kernel(out, module, options, module.kernels[k], result.run_symbols.back());
    }
  } catch (const std::exception& fault) {
    result.error = std::string("code generation: ") + fault.what();
    return result;
  }
  if (options.want_ir) {
    llvm::raw_string_ostream text(result.ir);
    out.print(text, nullptr);
  }
  if (options.verify) {
    std::string message;
    llvm::raw_string_ostream text(message);
    if (llvm::verifyModule(out, &text)) {
      result.error = "LLVM's verifier: " + message;
      return result;
    }
  }
  result.build_ms = milliseconds(started);
  if (options.want_assembly) {
    const auto copy = machine_for(options.target, &error);
    std::unique_ptr<llvm::Module> twin = llvm::CloneModule(out);
    result.assembly = emit(*copy, *twin, llvm::CodeGenFileType::AssemblyFile, &result.error);
  }
  const auto generating = std::chrono::steady_clock::now();
  result.object = emit(*machine, out, llvm::CodeGenFileType::ObjectFile, &result.error);
  result.codegen_ms = milliseconds(generating);
  if (!result.error.empty()) return result;
  const std::string missing = undefined_symbols(result.object);
  if (!missing.empty()) result.error = "the object refers to symbols outside itself: " + missing;
  return result;
}

std::string compiler_version() {
  return "llvm " LLVM_VERSION_STRING " abi " + std::to_string(kAbiVersion) + " for " + llvm::sys::getHostCPUName().str();
}

}  // namespace quern::cpu
