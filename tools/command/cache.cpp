// quern cache: what stands in the cache of compiled kernels, and what to do about it.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include <quern/quern.h>

#include "dsl/syntax/parse.h"
#include "runtime/disk/process_store.h"
#include "runtime/signature.h"
#include "tools/command/device_call.h"

namespace quern::command {
namespace {

using runtime::disk::Listed;
using runtime::disk::Store;

struct CacheCommand {
  std::uint64_t size = 0;
  std::string file, device;
  std::vector<std::string> settings;
};

Store& store() {
  const runtime::disk::ProcessStore& process = runtime::disk::process_store();
  if (!process.store) throw Failure(ExitCode::unavailable, process.problem.empty() ? "the cache is off (QUERN_CACHE)" : process.problem);
  return *process.store;
}

/// What an entry is for: "cpu avx512", "cuda sm_90a".
std::string made_for(const Listed& entry) {
  std::string text;
  for (const runtime::SignatureField& f : runtime::read_signature(entry.key))
    if (f.name == "device" || f.name == "level" || f.name == "architecture") text += (text.empty() ? "" : " ") + f.value;
  return text.empty() ? "?" : text;
}

std::string day(std::int64_t seconds) { return fmt::format("{:%Y-%m-%d %H:%M}", fmt::localtime(static_cast<std::time_t>(seconds))); }

ExitCode path(const Session& session) {
  if (session.json) session.write_json({{"directory", store().folder()}});
  else session.terminal.data(store().folder() + "\n");
  return ExitCode::ok;
}

ExitCode list(const Session& session) {
  const std::vector<Listed> entries = store().list(true);
  Json values = Json::array();
  std::uint64_t bytes = 0;
  std::string text;
  for (const Listed& e : entries) {
    bytes += e.bytes;
    values.push_back({{"key", e.digest}, {"kernel", e.name}, {"for", made_for(e)}, {"bytes", e.bytes}, {"used", e.used}, {"fault", e.fault}});
    text += fmt::format("{}  {:>9}  {}  {:<14} {}\n", e.digest, e.bytes, day(e.used), e.fault.empty() ? made_for(e) : "damaged", e.fault.empty() ? e.name : e.fault);
  }
  if (session.json) session.write_json({{"directory", store().folder()}, {"bytes", bytes}, {"most_bytes", store().most_bytes()}, {"entries", values}});
  else session.terminal.data(text + fmt::format("{} entr{}, {} bytes of at most {}\n", entries.size(), entries.size() == 1 ? "y" : "ies", bytes, store().most_bytes()));
  return ExitCode::ok;
}

ExitCode verify(const Session& session) {
  std::string text;
  Json damaged = Json::array();
  const std::vector<Listed> entries = store().list(true);
  for (const Listed& e : entries)
    if (!e.fault.empty()) {
      damaged.push_back({{"key", e.digest}, {"fault", e.fault}});
      text += fmt::format("{}  {}\n", e.digest, e.fault);
    }
  if (session.json) session.write_json({{"entries", entries.size()}, {"damaged", damaged}});
  else session.terminal.data(text + fmt::format("{} entr{}, {} damaged\n", entries.size(), entries.size() == 1 ? "y" : "ies", damaged.size()));
  return damaged.empty() ? ExitCode::ok : ExitCode::verification;
}

ExitCode prune(const Session& session, std::uint64_t bytes) {
  const std::size_t removed = store().prune(bytes);
  if (session.json) session.write_json({{"removed", removed}});
  else session.terminal.data(fmt::format("{} entr{} removed\n", removed, removed == 1 ? "y" : "ies"));
  return ExitCode::ok;
}

ExitCode warm(const Session& session, const CacheCommand& command) {
  store();
  const DeviceChoice choice = device_named(command.device);
  const std::string text = read_text(command.file);
  const dsl::Source source(command.file, text);
  dsl::Diagnostics diagnostics;
  const dsl::ast::File file = dsl::parse(source, diagnostics);
  if (diagnostics.has_errors()) {
    session.terminal.message(dsl::render(diagnostics, source));
    return ExitCode::program;
  }
  Json done = Json::array();
  const auto say = [&](const std::string& kernel, const std::string& state, const std::string& why) {
    if (session.json) done.push_back({{"kernel", kernel}, {"state", state}, {"why", why}});
    else session.terminal.data(fmt::format("{}: {}{}{}\n", kernel, state, why.empty() ? "" : ": ", why));
  };
  for (const dsl::ast::Item& item : file.items) {
    const auto* kernel = std::get_if<dsl::ast::Kernel>(&item.node);
    if (!kernel) continue;
    Options options;
    options.on(choice.device).for_target(choice.target);
    std::vector<std::string> own;
    for (const std::string& setting : command.settings)
      for (const dsl::ast::CompileTime& ct : kernel->compile_time)
        if (setting.starts_with(ct.name.text + "=")) own.push_back(setting);
    for (const Fixed& f : read_request(*kernel, {}, own).fixed) {
      if (f.is_type) options.set(f.name, static_cast<ElementType>(f.value));
      else options.set(f.name, f.value);
    }
    try {
      const Kernel made(text, kernel->name.text, options);
      made.prepare_dense();
      const Counters counters = made.counters();
      say(kernel->name.text, counters.compiles > 0 ? "compiled" : "was there", "");
    } catch (const Error& error) {
      if (error.code() != Code::invalid_argument) fail_with(error);
      say(kernel->name.text, "left out", error.message().substr(7));
    }
  }
  if (session.json) session.write_json({{"kernels", done}});
  return ExitCode::ok;
}

}  // namespace

void add_cache(CLI::App& app, Session& session) {
  auto command = std::make_shared<CacheCommand>();
  CLI::App* cache = app.add_subcommand("cache", "compiled kernels on disk: list, verify, prune, clear, warm");
  cache->footer(
      "quern cache list\n"
      "  quern cache warm attention.quern --set D=64   compile now what programs will load\n"
      "  quern cache prune --size 100MB\n"
      "  QUERN_CACHE=frozen my_program                             never compiles; says which key is missing\n\n"
      "The folder: QUERN_CACHE_DIR, else XDG_CACHE_HOME/quern, else ~/.cache/quern. QUERN_CACHE: on, read-only, frozen, off.\n"
      "QUERN_CACHE_SIZE: bytes, 1 GiB without it. Exit status: 0, 3 a damaged entry (verify), 6 the cache is off or has no folder.");
  cache->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, std::function<ExitCode()> action) {
    CLI::App* sub = cache->add_subcommand(name, help);
    sub->callback([&session, action] { session.action = action; });
    sub->add_flag("--json", session.json, "one JSON value on stdout");
    return sub;
  };
  add("path", "where it is", [&session] { return path(session); });
  add("list", "every entry, last used first", [&session] { return list(session); });
  add("verify", "reads every entry; exit status 3 when one is damaged", [&session] { return verify(session); });
  add("prune", "removes what was not used for longest", [&session, command] {
    return prune(session, command->size > 0 ? command->size : store().most_bytes());
  })->add_option("--size", command->size, "bytes to keep at most, as in 500MB (the cache's bound)")->transform(CLI::AsSizeValue(true))->type_name("BYTES");
  add("clear", "removes every entry", [&session] { return prune(session, 0); });
  CLI::App* sub = add("warm", "compiles the kernels of a file for dense arguments", [&session, command] { return warm(session, *command); });
  sub->add_option("FILE", command->file, "program file")->required();
  sub->add_option("--set", command->settings, "a compile-time value or an element type")->allow_extra_args(false)->type_name("NAME=VALUE");
  sub->add_option("--on", command->device, "cpu (default), cuda or cuda:sm_90a");
}

}  // namespace quern::command
