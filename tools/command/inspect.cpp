// quern inspect: what a kernel looks like on its way. In: a program. Out: its text at one stage, on stdout.
#include <fmt/format.h>

#include <algorithm>

#ifdef QUERN_LLVM
#include "compiler/codegen/cpu/code_generator.h"
#endif
#include "compiler/compile.h"
#include "compiler/ir/print_tile.h"
#include "dsl/ir/print_program.h"
#include "dsl/syntax/parse.h"
#include "dsl/syntax/print.h"
#include "tools/command/gpu_text.h"
#include "tools/command/loaded_kernel.h"

namespace quern::command {
namespace {

struct InspectOptions {
  KernelOptions kernel;
  std::string emit = "index";
  std::string print_after;
  std::vector<std::string> off;
  std::string target;
  std::string device;
};

std::vector<std::string> pass_names() {
  std::vector<std::string> names;
  for (const compiler::Pass& pass : compiler::passes()) {
    if (std::find(names.begin(), names.end(), pass.name) == names.end()) names.emplace_back(pass.name);
  }
  names.emplace_back("warp_roles");  // a choice of plans on GPUs rather than a pass, switched off like one
  return names;
}

void require_pass(const std::string& name) {
  const std::vector<std::string> names = pass_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::string_view meant = dsl::nearest(name, views);
  throw Failure(ExitCode::usage, fmt::format("there is no pass '{}'; {}", name,
                                             meant.empty() ? fmt::format("there are {}", fmt::join(names, ", "))
                                                           : fmt::format("did you mean '{}'?", meant)));
}

#ifdef QUERN_LLVM
std::string machine_text(const tile::Module& module, const compiler::CompileOptions& compile_options, bool assembly) {
  cpu::CpuOptions options;
  options.target = compile_options.plan.target;
  options.layouts = compile_options.plan.layouts;
  options.want_ir = !assembly;
  options.want_assembly = assembly;
  std::string error;
  const cpu::CodeGenerator* generator = cpu::code_generator(&error);
  if (!generator) throw Failure(ExitCode::unavailable, error);
  const cpu::CompiledCpu compiled = generator->compile(module, options);
  if (!compiled.error.empty()) throw Failure(ExitCode::internal, compiled.error);
  return assembly ? compiled.assembly : compiled.ir;
}
#endif

ExitCode run(const Session& session, const InspectOptions& options) {
  if (!options.print_after.empty() && options.print_after != "all") require_pass(options.print_after);
  for (const std::string& pass : options.off) require_pass(pass);
  const DeviceChoice choice = device_named(options.device);
  const bool on_gpu = choice.device == Device::cuda;
  const bool machine = options.emit == "llvm" || options.emit == "asm";
  const bool gpu_stage = options.emit == "cuda" || options.emit == "ptx" || options.emit == "resources" || options.emit == "sass";
  if (on_gpu && machine) throw Failure(ExitCode::usage, fmt::format("--emit={} is of the CPU; with --on cuda there are cuda, ptx, resources and sass", options.emit));
  if (!on_gpu && gpu_stage) throw Failure(ExitCode::usage, fmt::format("--emit={} needs --on cuda:sm_90a", options.emit));
#ifndef QUERN_LLVM
  if (options.emit == "llvm" || options.emit == "asm") {
    throw Failure(ExitCode::unavailable, fmt::format("--emit={}: this build has no LLVM", options.emit));
  }
#endif
  const LoadedKernel loaded = load_kernel(session, options.kernel, true);
  // With --print-after the stages of the way are the output; otherwise the one that --emit names.
  std::string trace;
  const auto stage = [&]() -> std::string {
    if (on_gpu && options.print_after.empty() && options.emit != "ast" && options.emit != "index") {
      const GpuText gpu(loaded.program, choice, options.off);
      return options.emit == "tile" ? tile::print_module(gpu.tiles()) : gpu.text(options.emit);
    }
    if (options.emit == "ast" && options.print_after.empty()) {
      dsl::ast::File only;
      std::string text;
      for (const dsl::ast::Item& item : loaded.file.items) {
        if (std::holds_alternative<dsl::ast::Kernel>(item.node) && &std::get<dsl::ast::Kernel>(item.node) != loaded.syntax) continue;
        text += loaded.source->slice(item.span);
        text += '\n';
      }
      const dsl::Source source(loaded.path, text);
      dsl::Diagnostics diagnostics;
      return dsl::print(dsl::parse(source, diagnostics), &source);
    }
    if (options.emit == "index" && options.print_after.empty()) return ir::print_program(loaded.program);
    compiler::CompileOptions compile_options;
    compile_options.passes.off = {options.off.begin(), options.off.end()};
    compile_options.passes.verify = true;
#ifdef QUERN_LLVM
    compile_options.plan.target = options.target.empty() ? cpu::host_target() : cpu::target_named(options.target);
#endif
    compile_options.plan.layouts.assign(loaded.program.tensors.size(), cpu::TensorLayout{true, {}});
    compile_options.passes.after = [&](const compiler::Pass& pass, const ir::Program& program, bool changed, double seconds) {
      if (options.print_after != "all" && options.print_after != pass.name) return;
      trace += fmt::format("# after {} ({}, {:.0f} us)\n", pass.name, changed ? "changed" : "unchanged", seconds * 1e6);
      if (changed || options.print_after != "all") trace += ir::print_program(program);
      trace += '\n';
    };
    const tile::Module module = compiler::compile(loaded.program, compile_options);
    if (!options.print_after.empty()) return trace;
    if (on_gpu) return "";
    if (options.emit == "tile") return tile::print_module(module);
#ifdef QUERN_LLVM
    return machine_text(module, compile_options, options.emit == "asm");
#else
    return "";
#endif
  };
  session.terminal.data(stage());
  return ExitCode::ok;
}

}  // namespace

void add_inspect(CLI::App& app, Session& session) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* sub = app.add_subcommand("inspect", "show a kernel at one stage of its way");
  sub->footer(
      "quern inspect attention.quern attention_einsum --emit=index   einsum and whole tensors, translated\n"
      "  quern inspect attention.quern attention --emit=tile --set D=64\n"
      "  quern inspect attention.quern attention --emit=asm --set D=64\n"
      "  quern inspect attention.quern attention --print-after=all     what each pass leaves\n"
      "  quern inspect attention.quern attention --on cuda:sm_90a --emit=resources --set D=64\n"
      "\n"
      "Stages: ast (as written, laid out), index (checked, every statement in index form), tile (fused and scheduled),\n"
      "llvm, asm; with --on cuda:sm_90a: tile, cuda (the text), ptx, resources (registers, spills), sass; without a GPU too. --set fixes any size, --off switches a pass off. Passes: " +
      fmt::format("{}", fmt::join(pass_names(), ", ")));
  options->kernel.add_to(*sub, false);
  sub->add_option("--emit", options->emit, "ast, index (default), tile, llvm, asm, cuda, ptx, resources or sass")
      ->check(CLI::IsMember({"ast", "index", "tile", "llvm", "asm", "cuda", "ptx", "resources", "sass"}));
  sub->add_option("--on", options->device, "cpu (default) or cuda:sm_80, sm_86, sm_89, sm_90, sm_90a; cuda alone is the GPU that is there");
  sub->add_option("--print-after", options->print_after, "show the program after this pass, or after all");
  sub->add_option("--off", options->off, "switch an optimising pass off")->allow_extra_args(false)->type_name("PASS");
  sub->add_option("--target", options->target, "avx512, avx2, baseline or host (default)")
      ->check(CLI::IsMember({"avx512", "avx2", "baseline", "host"}));
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
