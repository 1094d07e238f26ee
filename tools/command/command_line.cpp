// Reads the command line with CLI11, runs the chosen subcommand and turns every way to fail into a message on stderr and
// an exit status. Help begins with examples; a misspelt subcommand or option gets the nearest one as a suggestion.
#include <fmt/format.h>

#include <exception>
#include <new>
#include <vector>

#include <quern/cache.h>

#include "dsl/text/diagnostic.h"
#include "tools/command/session.h"
#include "tools/npy/npy.h"

namespace quern::command {
namespace {

constexpr const char* kExamples =
    R"(quern check attention.quern                     is the program right?
  quern run attention.quern q=q.npy k=k.npy v=v.npy --out o=o.npy
  quern run attention.quern q=random:[128,64] k=random:[256,64] v=random:[256,64] --verify
  quern explain attention.quern --set D=64        the kernels it becomes, and why
  quern bench attention.quern --set M=512 --set N=512 --set D=128
  quern compile attention.quern --target x86-64-v3,x86-64-v4 --set D=64,128 -o kernels

Exit status:
  0 done   1 the program has errors   2 wrong command line   3 a result is outside its error bound
  4 an argument does not fit (shape, type, file, a declared fact)   5 fault of quern   6 not in this build)";

/// CLI11's help with the examples on top instead of at the bottom.
class ExamplesFirst : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    const std::string rest = CLI::Formatter::make_help(app, std::move(name), mode);
    if (mode == CLI::AppFormatMode::Sub || app->get_footer().empty()) return rest;
    return "Examples:\n  " + app->get_footer() + "\n\n" + rest;
  }
  std::string make_footer(const CLI::App*) const override { return ""; }
  std::string make_usage(const CLI::App* app, std::string name) const override {
    return CLI::Formatter::make_usage(app, app->get_parent() == nullptr ? name : "quern " + name);
  }
};

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::vector<std::string_view> candidates(known.begin(), known.end());
  const std::string_view meant = dsl::nearest(word, candidates);
  return meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant);
}

std::vector<std::string> subcommands_of(CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

std::vector<std::string> options_of(CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// The commands that were named, `quern` first: quern, cache, list.
std::vector<CLI::App*> chain_of(CLI::App& app) {
  std::vector<CLI::App*> chain{&app};
  while (!chain.back()->get_subcommands().empty()) chain.push_back(chain.back()->get_subcommands().front());
  return chain;
}

/// What is wrong with the command line, in one line.
std::string usage_error(CLI::App& app, const std::vector<std::string>& words, const CLI::ParseError& error) {
  const std::vector<CLI::App*> chain = chain_of(app);
  CLI::App& last = *chain.back();
  const bool wants_more = !last.get_subcommands({}).empty();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> extras = app.remaining(true);
    const std::string word = extras.empty() ? "" : extras.front();
    if (!word.empty() && word.front() == '-') {
      std::vector<std::string> known;
      for (CLI::App* named : chain)
        for (const std::string& name : options_of(*named)) known.push_back(name);
      return fmt::format("unknown option '{}'{}", word, suggestion(word.substr(0, word.find('=')), known));
    }
    if (wants_more) return fmt::format("unknown subcommand '{}'{}", word, suggestion(word, subcommands_of(last)));
    return fmt::format("unexpected '{}'", word);
  }
  if (wants_more && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    std::size_t named = 1;
    for (const std::string& word : words) {
      if (word.empty() || word.front() == '-') continue;
      if (named < chain.size() && word == chain[named]->get_name()) ++named;
      else return fmt::format("unknown subcommand '{}'{}", word, suggestion(word, subcommands_of(last)));
    }
    return fmt::format("a subcommand is needed: {}", fmt::join(subcommands_of(last), ", "));
  }
  return error.what();
}

ExitCode guarded(const Session& session, const std::function<ExitCode()>& action) {
  try {
    return action();
  } catch (const Failure& failure) {
    session.terminal.error(failure.what());
    return failure.code;
  } catch (const npy::Error& error) {
    session.terminal.error(error.what());
    return ExitCode::data;
  } catch (const std::bad_alloc&) {
    session.terminal.error("out of memory");
    return ExitCode::data;
  } catch (const std::exception& error) {
    session.terminal.error(fmt::format("internal fault: {}\nPlease report it with the command line and the program.", error.what()));
    return ExitCode::internal;
  }
}

}  // namespace

void Session::write_json(const Json& value) const {
  terminal.data(value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

int run_command(int argc, const char* const* argv) {
  Session session;
  CLI::App app{"Tensor arithmetic from a text file: check it, run it, see what it becomes, time it."};
  app.name("quern");
  app.formatter(std::make_shared<ExamplesFirst>());
  app.footer(kExamples);
  app.set_version_flag("--version", "quern 0.1.0");
  bool no_color = false;
  app.add_flag("--no-color", no_color, "no colours (NO_COLOR and TERM=dumb say the same)");
  app.require_subcommand(1);
  app.fallthrough();
  add_check(app, session);
  add_run(app, session);
  add_inspect(app, session);
  add_explain(app, session);
  add_bench(app, session);
  add_compile(app, session);
  add_fmt(app, session);
  add_doctor(app, session);
  add_fuzz(app, session);
  add_judge(app, session);
  add_completion(app, session);
  add_cache(app, session);
  add_tune(app, session);

  session.terminal = Terminal::detect(false);
  // Help that nobody asked for is still help, but not success.
  if (argc < 2) {
    session.terminal.message(app.help());
    return static_cast<int>(ExitCode::usage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion& version) {
    session.terminal.data(std::string(version.what()) + "\n");
    return 0;
  } catch (const CLI::CallForHelp&) {
    const std::vector<CLI::App*> chosen = app.get_subcommands();
    session.terminal.data(chosen.empty() ? app.help() : chosen.front()->help());
    return 0;
  } catch (const CLI::ParseError& error) {
    session.terminal.error(usage_error(app, {argv + 1, argv + argc}, error));
    const std::vector<CLI::App*> chosen = app.get_subcommands();
    session.terminal.message(fmt::format("Run `quern{} --help`.\n", chosen.empty() ? "" : " " + chosen.front()->get_name()));
    return static_cast<int>(ExitCode::usage);
  }
  session.terminal = Terminal::detect(no_color);
  const ExitCode result = guarded(session, session.action);
  // The library prints nothing; what kept the cache from being used is said here, where kernels were asked of it.
  const std::string& chosen = app.get_subcommands().front()->get_name();
  if (chosen == "run" || chosen == "cache")
    if (const std::string warning = cache_status().warning; !warning.empty()) session.terminal.message("warning: " + warning + "\n");
  return static_cast<int>(result);
}

}  // namespace quern::command
