// quern check: is a program right? In: files. Out: nothing when all is well, else diagnostics with their places; every
// kernel is checked on its own, with its element types as set, defaulted, or tried at f32.
#include <fmt/format.h>

#include "dsl/syntax/parse.h"
#include "tools/command/loaded_kernel.h"

namespace quern::command {
namespace {

struct CheckOptions {
  std::vector<std::string> files;
  std::vector<std::string> settings;
};

struct FileReport {
  std::vector<std::string> kernels;
  Json diagnostics;
  bool ok = true;
};

FileReport check_file(const Session& session, const std::string& path, const std::vector<std::string>& settings) {
  const dsl::Source source(path == "-" ? "<stdin>" : path, read_text(path));
  dsl::Diagnostics diagnostics;
  const dsl::ast::File file = dsl::parse(source, diagnostics);
  FileReport report;
  report.kernels = kernel_names(file);
  // What could not be read is not checked further: one mistake, one message.
  if (!diagnostics.has_errors()) check_all_kernels(file, source, settings, diagnostics);
  report.ok = !diagnostics.has_errors();
  report.diagnostics = to_json(diagnostics, source);
  if (!session.json && !diagnostics.list().empty()) session.terminal.message(dsl::render(diagnostics, source));
  return report;
}

ExitCode run(const Session& session, const CheckOptions& options) {
  ExitCode code = ExitCode::ok;
  Json list = Json::array();
  for (const std::string& path : options.files) {
    FileReport report = check_file(session, path, options.settings);
    if (!report.ok) code = ExitCode::program;
    list.push_back({{"file", path}, {"ok", report.ok}, {"kernels", report.kernels}, {"diagnostics", std::move(report.diagnostics)}});
    if (!session.json && report.ok) {
      session.terminal.message(fmt::format("{}: {} kernel{}, no errors\n", path, report.kernels.size(), report.kernels.size() == 1 ? "" : "s"));
    }
  }
  if (session.json) session.write_json(list);
  return code;
}

}  // namespace

void add_check(CLI::App& app, Session& session) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* sub = app.add_subcommand("check", "find the errors in programs");
  sub->footer(
      "quern check attention.quern\n"
      "  quern check --json *.quern\n"
      "  quern check - < attention.quern\n"
      "  quern check --set T=bf16 attention.quern    element types that are open are otherwise tried at f32");
  sub->add_option("FILE", options->files, "program files; - is stdin")->required();
  sub->add_option("--set", options->settings, "a compile-time value or element type")->allow_extra_args(false)->type_name("NAME=VALUE");
  sub->add_flag("--json", session.json, "a list of files and their diagnostics on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
