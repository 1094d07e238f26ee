// quern fuzz: random valid programs, each device against the interpreter. In: a seed and a count. Out: how many agreed, the
// failures made small, with the seed that repeats each, and what the programs contained.
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "tools/command/device_call.h"
#include "tools/command/session.h"
#include "tools/fuzz/device.h"
#include "tools/fuzz/fuzz.h"

namespace quern::command {
namespace {

struct FuzzCommandOptions {
  fuzz::FuzzOptions fuzz;
  std::string device = "cpu";
  bool print = false;
  bool coverage = false;
};

ExitCode run(const Session& session, FuzzCommandOptions options) {
  set_cache({CacheMode::off, "", 0, false});  // programs that nobody will run again
  if (options.print) {
    for (int i = 0; i < options.fuzz.count; ++i) session.terminal.data(fuzz::program_of(options.fuzz.seed + static_cast<std::uint64_t>(i)) + "\n");
    return ExitCode::ok;
  }
  options.fuzz.device = device_named(options.device).device;
  if (options.fuzz.device != Device::interpreter && !fuzz::has_device(options.fuzz.device))
    throw Failure(ExitCode::unavailable, options.device == "cpu" ? "this build has no compiled kernels; --on interpreter" : "this build has no CUDA device; --on interpreter");
  if (options.fuzz.device == Device::cuda) {
    // In a process of its own: one that has started CUDA has no children that can.
    fuzz::JudgeOptions how;
    how.device = Device::cuda;
    const fuzz::Verdict probe = fuzz::judge_apart("#: N=3\nkernel probe(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] }\n", how, 120);
    if (probe.outcome != fuzz::Outcome::agree) throw Failure(ExitCode::unavailable, fmt::format("the GPU cannot run a kernel that copies three numbers: {}", probe.message));
  }
  const bool animated = isatty(STDERR_FILENO) != 0;
  const fuzz::FuzzReport report = fuzz::run_fuzz(options.fuzz, [&](int done, const fuzz::Failure* failure) {
    if (failure != nullptr) {
      session.terminal.message(fmt::format("{}{}: {}\n{}\n{}\n", animated ? "\r" : "", fuzz::name(failure->verdict.outcome),
                                           failure->verdict.message, failure->program, failure->repro()));
    } else if (animated) {
      std::fprintf(stderr, "\r%d of %d", done, options.fuzz.count);
    } else if (done % 1000 == 0) {
      session.terminal.message(fmt::format("{} of {}\n", done, options.fuzz.count));
    }
  });
  if (animated) std::fputs("\r", stderr);

  if (session.json) {
    Json failures = Json::array();
    for (const fuzz::Failure& failure : report.failures) {
      failures.push_back({{"seed", failure.seed}, {"outcome", fuzz::name(failure.verdict.outcome)}, {"message", failure.verdict.message},
                          {"program", failure.program}, {"repro", failure.repro()}});
    }
    session.write_json({{"seed", options.fuzz.seed}, {"count", options.fuzz.count}, {"device", options.device}, {"agreed", report.agreed},
                        {"refused", report.refused}, {"elements_checked", report.checked}, {"elements_undecided", report.undecided},
                        {"max_error_over_bound", report.max_ratio}, {"failures", std::move(failures)}});
  } else {
    session.terminal.data(fmt::format("seeds {} to {} on {}: {} agree, {} refused, {} failed; {} elements checked ({} undecided), largest error {:.2g} of its bound\n",
                                      options.fuzz.seed, options.fuzz.seed + static_cast<std::uint64_t>(std::max(0, options.fuzz.count - 1)), options.device,
                                      report.agreed, report.refused, report.failures.size(), report.checked, report.undecided, report.max_ratio));
    if (options.coverage) session.terminal.data(report.coverage.table());
    for (const fuzz::Failure& failure : report.failures) session.terminal.data(failure.repro() + "\n");
  }
  return report.failures.empty() ? ExitCode::ok : ExitCode::verification;
}

}  // namespace

void add_fuzz(CLI::App& app, Session& session) {
  auto options = std::make_shared<FuzzCommandOptions>();
  CLI::App* sub = app.add_subcommand("fuzz", "random programs, checked against the interpreter");
  sub->footer(
      "quern fuzz --seed 1 --count 1000 --on cpu\n"
      "  quern fuzz --seed 4711                 one program again\n"
      "  quern fuzz --seed 4711 --print         its text\n"
      "  quern fuzz --count 20000 --coverage    and what the programs contained");
  sub->add_option("--seed", options->fuzz.seed, "of the first program; the next ones follow (default 1)");
  sub->add_option("--count", options->fuzz.count, "programs (default 1)")->default_val(1)->check(CLI::Range(0, 1000000000));
  sub->add_option("--on", options->device, "cpu (default), cuda or interpreter")->check(CLI::IsMember({"interpreter", "cpu", "cuda"}));
  sub->add_flag("!--no-shrink", options->fuzz.shrink, "report failures as they are, without making them small");
  sub->add_flag("--print", options->print, "print the programs instead of running them");
  sub->add_flag("--coverage", options->coverage, "a table of what the programs contained");
  sub->add_flag("--json", session.json, "one JSON value on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
