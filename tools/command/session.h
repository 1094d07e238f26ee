// What the subcommands share: each adds itself to the command line and leaves behind what is to be done.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/command/exit_code.h"
#include "tools/command/terminal.h"

namespace quern::command {

using Json = nlohmann::ordered_json;

struct Session {
  Terminal terminal;
  bool json = false;  // --json: one JSON value on stdout instead of text
  std::function<ExitCode()> action;

  /// Indented, with a newline; bytes that are no UTF-8 are replaced.
  void write_json(const Json& value) const;
};

// One file each. The help of a subcommand begins with the examples that it hands to CLI11 as its footer.
void add_check(CLI::App& app, Session& session);
void add_run(CLI::App& app, Session& session);
void add_inspect(CLI::App& app, Session& session);
void add_explain(CLI::App& app, Session& session);
void add_bench(CLI::App& app, Session& session);
void add_compile(CLI::App& app, Session& session);
void add_fmt(CLI::App& app, Session& session);
void add_doctor(CLI::App& app, Session& session);
void add_fuzz(CLI::App& app, Session& session);
void add_judge(CLI::App& app, Session& session);
/// `quern completion` and `quern manual`.
void add_completion(CLI::App& app, Session& session);
void add_cache(CLI::App& app, Session& session);
void add_tune(CLI::App& app, Session& session);

/// The whole command: what main() does. Exit status in, as documented in exit_code.h.
int run_command(int argc, const char* const* argv);

}  // namespace quern::command
