// quern compile: kernels ahead of time. In: a program file, targets, values. Out: DIR/NAME.h and DIR/NAME.o, which a program
// links with libquern-aot.
#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "compiler/codegen/cuda/target.h"
#include "dsl/syntax/parse.h"
#include "runtime/aot/build/compile_ahead.h"
#include "tools/command/export_cu.h"
#include "tools/command/program_file.h"
#include "tools/command/session.h"

namespace quern::command {
namespace {

using runtime::aot::AheadOptions;
using runtime::aot::LayoutClass;

struct CompileOptions {
  std::string file, folder = ".", name, prefix;
  std::vector<std::string> kernels, targets, settings, layouts;
  bool quiet = false, export_cu = false, source = false;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

quern::Setting setting_of(const std::string& name, const std::string& value) {
  if (const std::optional<DType> type = dtype_from_name(value)) return {name, true, static_cast<std::int64_t>(*type)};
  if (value == "true" || value == "false") return {name, false, value == "true"};
  std::size_t used = 0;
  try {
    const long long number = std::stoll(value, &used);
    if (used == value.size()) return {name, false, number};
  } catch (const std::exception&) {
    // said below
  }
  throw Failure(ExitCode::usage, fmt::format("--set {}={}: '{}' is no integer, flag or element type", name, value, value));
}

/// D=64,128 and later words of the same name add up.
void add_choice(const std::string& word, std::vector<runtime::aot::Choice>& choices) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0) throw Failure(ExitCode::usage, fmt::format("--set {}: write NAME=VALUE,VALUE", word));
  const std::string name = word.substr(0, equals);
  auto choice = std::find_if(choices.begin(), choices.end(), [&](const auto& c) { return c.name == name; });
  if (choice == choices.end()) choice = choices.insert(choices.end(), {name, {}});
  for (const std::string& value : split(word.substr(equals + 1))) {
    const quern::Setting setting = setting_of(name, value);
    const bool known = std::any_of(choice->values.begin(), choice->values.end(), [&](const quern::Setting& s) { return s.is_type == setting.is_type && s.value == setting.value; });
    if (!known) choice->values.push_back(setting);
  }
}

LayoutClass layout_named(const std::string& name) {
  if (name == "dense") return LayoutClass::dense;
  if (name == "rows") return LayoutClass::rows;
  if (name == "any") return LayoutClass::any;
  throw Failure(ExitCode::usage, fmt::format("--layouts: '{}' is none of dense, rows, any", name));
}

ExitCode exit_code_of(Code code) {
  switch (code) {
    case Code::invalid_program: return ExitCode::program;
    case Code::invalid_argument: return ExitCode::usage;
    case Code::unsupported: return ExitCode::unavailable;
    case Code::internal: return ExitCode::internal;
    default: return ExitCode::data;
  }
}

/// Names of files become parts of names in C.
std::string stem_of(const std::string& file) {
  std::string stem = file == "-" ? "kernels" : std::filesystem::path(file).stem().string();
  for (char& c : stem)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return stem;
}

/// --export-cu: one kernel, one target, all sizes fixed.
ExitCode take_away(const Session& session, const CompileOptions& options) {
  std::vector<std::string> targets;
  for (const std::string& word : options.targets)
    for (const std::string& target : split(word)) targets.push_back(target);
  if (targets.size() != 1 || !quern::cuda::target_named(targets[0])) throw Failure(ExitCode::usage, "--export-cu takes one target of sm_80, sm_86, sm_89, sm_90 and sm_90a");
  KernelOptions kernel;
  kernel.file = options.file;
  kernel.words = options.kernels;
  kernel.settings = options.settings;
  const LoadedKernel loaded = load_kernel(session, kernel, true);
  const std::string text = export_cu(loaded, targets[0]);
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) throw Failure(ExitCode::data, fmt::format("{}: {}", options.folder, error.message()));
  const std::string path = (std::filesystem::path(options.folder) / (options.name.empty() ? loaded.name : options.name)).string() + ".cu";
  write_text(path, text);
  if (session.json) session.write_json({{"file", path}});
  else session.terminal.data(path + "\n");
  return ExitCode::ok;
}

ExitCode run(const Session& session, const CompileOptions& options) {
  if (options.export_cu) return take_away(session, options);
  const std::string text = read_text(options.file);
  const std::string shown = options.file == "-" ? "<stdin>" : std::filesystem::path(options.file).filename().string();
  AheadOptions ahead;
  {
    const dsl::Source source(shown, text);
    dsl::Diagnostics diagnostics;
    const dsl::ast::File file = dsl::parse(source, diagnostics);
    if (diagnostics.has_errors()) {
      session.terminal.message(dsl::render(diagnostics, source));
      throw Failure(ExitCode::program, fmt::format("{} has errors", shown));
    }
    for (const std::string& kernel : options.kernels) choose_kernel(file, kernel, shown);
    ahead.kernels = options.kernels.empty() ? kernel_names(file) : options.kernels;
  }
  if (ahead.kernels.empty()) throw Failure(ExitCode::program, fmt::format("{} holds no kernel", shown));
  for (const std::string& word : options.targets)
    for (const std::string& target : split(word)) ahead.targets.push_back(target);
  for (const std::string& word : options.settings) add_choice(word, ahead.choices);
  if (!options.layouts.empty()) ahead.layouts.clear();
  for (const std::string& word : options.layouts)
    for (const std::string& layout : split(word)) ahead.layouts.push_back(layout_named(layout));
  ahead.prefix = options.prefix;
  ahead.source = options.source;
  ahead.name = options.name.empty() ? stem_of(options.file) : options.name;
  if (!options.quiet) ahead.progress = [&](const std::string& line) { session.terminal.message(line + "\n"); };

  runtime::aot::Ahead made;
  try {
    made = runtime::aot::compile_ahead(text, shown, ahead);
  } catch (const Error& error) {
    std::string message = error.message();
    if (message.starts_with("error: ")) message.erase(0, 7);
    throw Failure(exit_code_of(error.code()), message);
  }
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) throw Failure(ExitCode::data, fmt::format("{}: {}", options.folder, error.message()));
  const std::string path = (std::filesystem::path(options.folder) / ahead.name).string();
  const std::string code = path + (options.source ? ".c" : ".o");
  write_text(code, options.source ? made.source : made.object);
  write_text(path + ".h", made.header);
  if (session.json) {
    session.write_json({{"header", path + ".h"}, {options.source ? "source" : "object", code}, {options.source ? "source_bytes" : "object_bytes", (options.source ? made.source : made.object).size()},
                        {"functions", made.functions}});
  } else {
    session.terminal.data(fmt::format("{}.h\n{}\n", path, code));
  }
  return ExitCode::ok;
}

}  // namespace

void add_compile(CLI::App& app, Session& session) {
  auto options = std::make_shared<CompileOptions>();
  CLI::App* sub = app.add_subcommand("compile", "compile kernels ahead of time: a C header and an object");
  sub->footer(
      "quern compile attention.quern attention --target x86-64-v3,x86-64-v4 --set D=64,128 -o kernels\n"
      "  quern compile attention.quern multi_head --target x86-64-v3,sm_80,sm_90a --set T=f16 --set D=128 --set E=128 -o kernels\n"
      "  cc main.c -Ikernels kernels/attention.o -lquern-aot\n"
      "  quern compile attention.quern attention --target sm_80,sm_90a --source --set D=64 -o kernels && cc -c kernels/attention.c\n"
      "  quern compile attention.quern attention --export-cu --target sm_90a --set M=512 --set N=512 --set D=64 -o .\n"
      "\n"
      "The object holds code for every target and value; the program takes the best for its processor at each call. It needs\n"
      "libquern-aot and nothing else: no LLVM, no compiler; the CUDA driver is opened when a function for GPUs is called. In a\n"
      "CMake project: quern_add_kernels(TARGET FILES attention.quern TARGETS x86-64-v3 x86-64-v4 SET D=64,128).");
  sub->add_option("FILE", options->file, "program file; - is stdin")->required();
  sub->add_option("KERNEL", options->kernels, "kernels of the file; none: all");
  sub->add_option("--target", options->targets, "x86-64-v2, x86-64-v3, x86-64-v4; sm_80, sm_86, sm_89, sm_90, sm_90a")->required()->allow_extra_args(false)->type_name("NAME,...");
  sub->add_option("--set", options->settings, "values of a compile-time name, or of a size that is to be fixed")->allow_extra_args(false)->type_name("NAME=VALUE,...");
  sub->add_option("--layouts", options->layouts, "what to make code for: dense tensors, rows (the last axis has stride 1), any; all three when not given")
      ->allow_extra_args(false)
      ->type_name("NAME,...");
  sub->add_option("-o,--out", options->folder, "folder of the two files")->type_name("DIR");
  sub->add_option("--name", options->name, "of the two files; that of the program file when not given");
  sub->add_option("--prefix", options->prefix, "before the names of the C functions");
  sub->add_flag("--source", options->source, "for GPU targets: C text instead of an object, for any C compiler; needs no LLVM");
  sub->add_flag("--export-cu", options->export_cu, "one kernel as a .cu program of its own: code, inputs, reference, timing; needs nvcc and nothing else");
  sub->add_flag("--quiet", options->quiet, "no line for each variant");
  sub->add_flag("--json", session.json, "one JSON value on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
