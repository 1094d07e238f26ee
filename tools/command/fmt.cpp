// quern fmt: a program in its canonical layout. In: files. Out: the text on stdout, in place, or only whether it differs.
#include <fmt/format.h>

#include "dsl/syntax/parse.h"
#include "dsl/syntax/print.h"
#include "tools/command/program_file.h"
#include "tools/command/session.h"

namespace quern::command {
namespace {

struct Options {
  std::vector<std::string> files;
  bool in_place = false;
  bool check = false;
};

ExitCode run(const Session& session, const Options& options) {
  ExitCode code = ExitCode::ok;
  for (const std::string& path : options.files) {
    const dsl::Source source(path == "-" ? "<stdin>" : path, read_text(path));
    dsl::Diagnostics diagnostics;
    const dsl::ast::File file = dsl::parse(source, diagnostics);
    if (diagnostics.has_errors()) {
      // What could not be read cannot be laid out; nothing is written.
      session.terminal.message(dsl::render(diagnostics, source));
      code = ExitCode::program;
      continue;
    }
    const std::string text = dsl::print(file, &source);
    if (options.check) {
      if (text != source.text()) {
        session.terminal.data(path + "\n");
        code = ExitCode::program;
      }
    } else if (options.in_place && path != "-") {
      if (text != source.text()) write_text(path, text);
    } else {
      session.terminal.data(text);
    }
  }
  return code;
}

}  // namespace

void add_fmt(CLI::App& app, Session& session) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("fmt", "lay a program out");
  sub->footer(
      "quern fmt attention.quern              the text on stdout\n"
      "  quern fmt --in-place examples/*.quern\n"
      "  quern fmt --check examples/*.quern     exit status 1 and the names of files that would change");
  sub->add_option("FILE", options->files, "program files; - is stdin")->required();
  sub->add_flag("-i,--in-place", options->in_place, "rewrite the files");
  sub->add_flag("--check", options->check, "write nothing, list what would change");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
