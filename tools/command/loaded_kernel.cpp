// Words of a command line to a checked program.
#include "tools/command/loaded_kernel.h"

#include <fmt/format.h>

#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"

namespace quern::command {

void KernelOptions::add_to(CLI::App& sub, bool data) {
  sub.add_option("FILE", file, "program file; - is stdin")->required();
  sub.add_option("KERNEL", words,
                 data ? "the kernel, where the file holds several, and data for its parameters"
                      : "the kernel, where the file holds several")
      ->type_name(data ? "NAME=SPEC" : "");
  sub.add_option("--set", settings, "a size, a compile-time value or an element type")->allow_extra_args(false)->type_name("NAME=VALUE");
}

LoadedKernel load_kernel(const Session& session, const KernelOptions& options, bool fix_all) {
  LoadedKernel loaded;
  loaded.path = options.file == "-" ? "<stdin>" : options.file;
  loaded.text = read_text(options.file);
  loaded.source = std::make_unique<dsl::Source>(loaded.path, loaded.text);
  dsl::Diagnostics diagnostics;
  loaded.file = dsl::parse(*loaded.source, diagnostics);
  const auto stop_on_errors = [&] {
    if (!diagnostics.list().empty()) session.terminal.message(dsl::render(diagnostics, *loaded.source));
    if (diagnostics.has_errors()) throw Failure(ExitCode::program, fmt::format("{} has errors", loaded.path));
  };
  if (diagnostics.has_errors()) stop_on_errors();

  std::string kernel;
  std::vector<std::string> assignments;
  for (const std::string& word : options.words) {
    if (word.find('=') != std::string::npos) {
      assignments.push_back(word);
    } else if (kernel.empty()) {
      kernel = word;
    } else {
      throw Failure(ExitCode::usage, fmt::format("'{}' is a second kernel beside '{}'; data is written name={}", word, kernel, word));
    }
  }
  loaded.syntax = &choose_kernel(loaded.file, kernel, loaded.path);
  loaded.name = loaded.syntax->name.text;
  loaded.request = read_request(*loaded.syntax, assignments, options.settings);
  dsl::Bindings fixed;
  for (const Fixed& setting : loaded.request.fixed) {
    if (setting.is_type) {
      fixed.types[setting.name] = static_cast<DType>(setting.value);
    } else if (setting.compile_time || fix_all) {
      fixed.values[setting.name] = setting.value;
    }
  }
  std::optional<ir::Program> program = dsl::check(*loaded.syntax, &loaded.file, *loaded.source, fixed, diagnostics);
  stop_on_errors();
  if (!program) throw Failure(ExitCode::internal, "the checker gave neither a program nor an error");
  loaded.program = std::move(*program);
  return loaded;
}

void check_all_kernels(const dsl::ast::File& file, const dsl::Source& source, const std::vector<std::string>& settings,
                       dsl::Diagnostics& diagnostics) {
  std::vector<Setting> given;
  for (const std::string& text : settings) given.push_back(parse_setting(text, "a setting"));
  for (const dsl::ast::Item& item : file.items) {
    const auto* kernel = std::get_if<dsl::ast::Kernel>(&item.node);
    if (kernel == nullptr) continue;
    std::vector<std::string> own;
    for (const Setting& setting : given) {
      for (const dsl::ast::CompileTime& ct : kernel->compile_time) {
        if (ct.name.text == setting.name) own.push_back(setting.name + "=" + setting.value);
      }
    }
    dsl::Bindings fixed;
    for (const Fixed& setting : read_request(*kernel, {}, own).fixed) {
      if (setting.is_type) {
        fixed.types[setting.name] = static_cast<DType>(setting.value);
      } else {
        fixed.values[setting.name] = setting.value;
      }
    }
    dsl::check(*kernel, &file, source, fixed, diagnostics);
  }
}

}  // namespace quern::command
