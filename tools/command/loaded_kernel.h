// FILE [KERNEL] name=SPEC ... --set NAME=VALUE, which run, bench, explain and inspect share: from these words to a checked
// program. Diagnostics go to stderr; after them the subcommand ends with exit status 1.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dsl/ir/program.h"
#include "tools/command/arguments.h"
#include "tools/command/program_file.h"
#include "tools/command/session.h"

namespace quern::command {

struct KernelOptions {
  std::string file;
  std::vector<std::string> words;     // at most one kernel name, then name=SPEC
  std::vector<std::string> settings;  // --set

  /// `data`: name=SPEC words make sense for this subcommand.
  void add_to(CLI::App& sub, bool data);
};

struct LoadedKernel {
  std::string path, text, name;
  std::unique_ptr<dsl::Source> source;
  dsl::ast::File file;
  const dsl::ast::Kernel* syntax = nullptr;
  Request request;
  ir::Program program;
};

/// Checks every kernel of a parsed file; `settings` apply to the kernels that have such a name.
void check_all_kernels(const dsl::ast::File& file, const dsl::Source& source, const std::vector<std::string>& settings,
                       dsl::Diagnostics& diagnostics);

/// `fix_all`: sizes that --set gives are fixed in the program even where they are run-time sizes.
LoadedKernel load_kernel(const Session& session, const KernelOptions& options, bool fix_all = false);

}  // namespace quern::command
