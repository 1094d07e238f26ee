// quern explain: what a kernel becomes and why. In: a program, sizes where they are known. Out: its index form, the kernels
// it is run as with the algebra that fused them, the arithmetic and bytes it asks for, and the time those need at least.
#include <fmt/format.h>

#include <cstring>

#include "compiler/compile.h"
#include "dsl/ir/print_program.h"
#include "tools/command/device_call.h"
#include "tools/command/gpu_text.h"
#include "tools/command/loaded_kernel.h"
#include "tools/command/peak.h"
#include "tools/command/work.h"

namespace quern::command {
namespace {

struct ExplainOptions {
  KernelOptions kernel;
  std::vector<std::string> off;
  std::string device;
  bool key = false;
};

/// Bytes per second that one thread copies, in and out, between arrays that no cache holds.
double copy_rate() {
  std::vector<char> from(96u << 20, 1), to(96u << 20, 2);
  double best = 1e9;
  for (int i = 0; i < 4; ++i) {
    const double start = now();
    std::memcpy(to.data(), from.data(), to.size());
    best = std::min(best, now() - start);
  }
  return 2.0 * static_cast<double>(to.size()) / best;
}

std::string indented(const std::string& text, std::string_view by) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    result += fmt::format("{}{}\n", by, text.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

std::string grid_of(const tile::Module& module, const tile::Kernel& kernel) {
  std::vector<std::string> dims;
  for (const tile::GridDim& dim : kernel.grid) {
    const std::string& index = module.program.indices[dim.index].name;
    const std::string range = fmt::format("{}:{}", ir::print_expr(module.program, dim.begin), ir::print_expr(module.program, dim.end));
    dims.push_back(dim.step == 1 ? fmt::format("{} in {}", index, range) : fmt::format("{} in {} by {}", index, range, dim.step));
  }
  return dims.empty() ? "one task" : fmt::format("tasks: {}", fmt::join(dims, ", "));
}

std::string asks_for(const Work& work) {
  return fmt::format("  {:.4g} Mflop in multiply-adds, {:.4g} M float operations in all\n", 2 * work.multiply_adds * 1e-6, work.operations * 1e-6) +
         fmt::format("  {:.4g} MB read, {:.4g} MB written: {:.3g} flop per byte\n", work.bytes_read * 1e-6, work.bytes_written * 1e-6,
                     work.flops() / std::max(1.0, work.bytes()));
}

/// --key: for dense arguments, as the library itself asks its cache.
ExitCode explain_key(const Session& session, const LoadedKernel& loaded, const ExplainOptions& options) {
  const DeviceChoice choice = device_named(options.device);
  Options how;
  how.on(choice.device).for_target(choice.target);
  how.disabled = options.off;
  for (const Fixed& f : loaded.request.fixed) {
    if (f.is_type) how.set(f.name, static_cast<ElementType>(f.value));
    else if (f.compile_time) how.set(f.name, f.value);
  }
  try {
    session.terminal.data(Kernel(loaded.text, loaded.name, how).explain_key());
  } catch (const Error& error) {
    fail_with(error);
  }
  return ExitCode::ok;
}

ExitCode run(const Session& session, const ExplainOptions& options) {
  const LoadedKernel loaded = load_kernel(session, options.kernel);
  if (options.key) return explain_key(session, loaded, options);
  const Bindings bindings = bindings_of(loaded.program, loaded.request);
  compiler::CompileOptions compile_options;
  compile_options.passes.off = {options.off.begin(), options.off.end()};
#ifdef QUERN_LLVM
  compile_options.plan.target = cpu::host_target();
#endif
  compile_options.plan.layouts.assign(loaded.program.tensors.size(), cpu::TensorLayout{true, {}});
  ir::Program program = loaded.program;
  for (ir::Symbol& symbol : program.symbols) {
    const auto& value = bindings.symbols[static_cast<std::size_t>(&symbol - program.symbols.data())];
    if (symbol.compile_time && value) symbol.value = value;
  }
  const DeviceChoice choice = device_named(options.device);
  std::optional<GpuText> gpu;
  if (choice.device == Device::cuda) gpu.emplace(program, choice, options.off);
  const tile::Module module = gpu ? gpu->tiles() : compiler::compile(std::move(program), compile_options);

  const std::vector<std::string> open = unbound_sizes(loaded.program, bindings);
  std::optional<Work> work;
  if (open.empty()) work = count_work(loaded.program, bindings);

  if (session.json) {
    Json kernels = Json::array();
    for (const tile::Kernel& kernel : module.kernels) kernels.push_back({{"name", kernel.name}, {"grid", grid_of(module, kernel)}, {"why", kernel.why}});
    Json workspace = Json::array();
    for (ir::TensorId id : module.workspace) workspace.push_back(module.program.tensors[id].name);
    Json result{{"kernel", loaded.name}, {"index_form", ir::print_program(loaded.program)}, {"kernels", std::move(kernels)}, {"workspace", std::move(workspace)}};
    if (work) {
      result["work"] = {{"flops", work->flops()}, {"multiply_adds", work->multiply_adds}, {"all_operations", work->operations},
                        {"bytes_read", work->bytes_read}, {"bytes_written", work->bytes_written}};
    }
    session.write_json(result);
    return ExitCode::ok;
  }

  std::string text = session.terminal.heading("In index form") + "\n" + indented(ir::print_program(loaded.program), "  ");
  text += session.terminal.heading(fmt::format("Becomes {} kernel{}", module.kernels.size(), module.kernels.size() == 1 ? "" : "s")) + "\n";
  for (const tile::Kernel& kernel : module.kernels) {
    text += fmt::format("  {}: {}\n", kernel.name, grid_of(module, kernel));
    for (const std::string& line : kernel.why) text += indented(line, "    ");
  }
  for (ir::TensorId id : module.workspace) {
    const ir::Tensor& tensor = module.program.tensors[id];
    std::vector<std::string> extents;
    for (ir::Expr extent : tensor.shape) extents.push_back(ir::print_expr(module.program, extent));
    text += fmt::format("  between them in memory: {}: {}[{}]\n", tensor.name, name(tensor.type), fmt::join(extents, ","));
  }
  if (gpu) text += session.terminal.heading(fmt::format("Takes of each multiprocessor ({})", gpu->target())) + "\n" + indented(gpu->text("resources"), "  ");
  text += session.terminal.heading("Asks for") + "\n";
  if (work && gpu) {
    text += asks_for(*work);
  } else if (work) {
    const Peak peak = measure_peak(work->double_precision, 1);
    const double rate = copy_rate();
    const double arithmetic = work->flops() / (peak.gflops * 1e9), memory = work->bytes() / rate;
    text += asks_for(*work);
    text += fmt::format("  one thread needs at least {:.4g} us: {:.4g} us of arithmetic at {:.0f} GFLOP/s, {:.4g} us to copy at {:.0f} GB/s from memory\n",
                        1e6 * std::max(arithmetic, memory), 1e6 * arithmetic, peak.gflops, 1e6 * memory, rate * 1e-9);
    text += fmt::format("  bound by {} here{}\n", arithmetic > memory ? "arithmetic" : "memory", arithmetic > memory ? "" : " (by arithmetic where it all stays in a cache)");
  } else {
    text += fmt::format("  (give {} to see arithmetic, bytes and the time they need)\n", "--set " + fmt::format("{}", fmt::join(open, "=.. --set ")) + "=..");
  }
  session.terminal.data(text);
  return ExitCode::ok;
}

}  // namespace

void add_explain(CLI::App& app, Session& session) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* sub = app.add_subcommand("explain", "what a kernel becomes, and why");
  sub->footer(
      "quern explain attention.quern attention\n"
      "  quern explain attention.quern attention --set M=512 --set N=512 --set D=64   with arithmetic, bytes and bounds\n"
      "  quern explain scores.quern alibi --off merge_equal --json");
  options->kernel.add_to(*sub, false);
  sub->add_option("--off", options->off, "switch an optimising pass off")->allow_extra_args(false)->type_name("PASS");
  sub->add_option("--on", options->device, "cpu (default), or cuda:sm_90a and the like, without a GPU too");
  sub->add_flag("--key", options->key, "what the compiled kernel depends on, and whether the cache has it");
  sub->add_flag("--json", session.json, "one JSON value on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
