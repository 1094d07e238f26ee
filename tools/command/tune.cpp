// quern tune: which optimising passes a kernel is faster without, measured here. In: a program and the arguments of a call. Out: a
// choice, kept apart from compiled code (runtime/tuned.h), that later processes compile by. The one idea: nothing is taken for faster
// that did not win calls in turns, and nothing is timed that was not found right.
#include <algorithm>
#include <chrono>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/tuned.h"
#include "tools/command/device_call.h"
#include "tools/command/timing.h"

namespace quern::command {
namespace {

struct TuneOptions {
  KernelOptions kernel;
  int threads = 0;
  double seconds = 10;
  std::string device;
  bool forget = false;
};

constexpr double kWorthIt = 0.97;  // of the time without: less is noise

struct Pair {
  double first = 0, second = 0;  // medians, seconds a call
};

/// Both in turns, so that what else the machine does meets both.
Pair in_turns(DeviceCall& first, DeviceCall& second, double seconds) {
  constexpr int kRounds = 11;
  std::vector<double> times[2];
  for (int round = 0; round < kRounds; ++round)
    for (DeviceCall* call : {&first, &second}) times[call == &second].push_back(time_calls(*call, seconds / (2 * kRounds)).median);
  for (auto& t : times) std::sort(t.begin(), t.end());
  return {times[0][kRounds / 2], times[1][kRounds / 2]};
}

/// The request that a Kernel makes for such a call: types as they are, compile-time values as the arguments bind them.
runtime::CompileRequest request_of(const LoadedKernel& loaded, const Arguments& arguments, const Options& options) {
  auto program = std::make_shared<ir::Program>(loaded.program);
  for (std::size_t s = 0; s < program->symbols.size(); ++s)
    if (program->symbols[s].compile_time && !program->symbols[s].value) program->symbols[s].value = arguments.bindings.symbols[s];
  runtime::CompileRequest request;
  request.layouts.assign(runtime::Binding(*program).slots().size(), {true, -1});
  request.program = std::move(program);
  request.options = &options;
  return request;
}

ExitCode run(const Session& session, const TuneOptions& options) {
  const runtime::disk::ProcessStore& process = runtime::disk::process_store();
  if (!process.choices) throw Failure(ExitCode::unavailable, process.problem.empty() ? "choices are kept in the cache, which is off (QUERN_CACHE)" : process.problem);
  if (process.choices->read_only()) throw Failure(ExitCode::unavailable, "choices are kept in the cache, which is read only (QUERN_CACHE)");
  set_cache({CacheMode::off, "", 0, false});  // what is timed is compiled here, and as it is
  const LoadedKernel loaded = load_kernel(session, options.kernel);
  const Arguments arguments = make_arguments(loaded.program, loaded.request, {true, 0});
  const DeviceChoice choice = device_named(options.device);
  DeviceCall as_it_is(loaded, arguments, choice, options.threads);
  const Device device = as_it_is.device();
  if (device == Device::interpreter) throw Failure(ExitCode::unavailable, "this build has no compiled kernels (QUERN_LLVM=OFF); there is nothing to measure but --on cuda");
  Options asked;
  asked.on(device).for_target(choice.target);
  const runtime::CompileRequest request = request_of(loaded, arguments, asked);
  const auto keep = [&](const runtime::Choice& kept) {
    if (!runtime::keep_choice(device, request, kept, process)) throw Failure(ExitCode::data, fmt::format("the choice could not be kept in '{}'; {}", process.choices->folder(), process.choices->warning()));
  };
  if (options.forget) {
    keep({});
    if (session.json) session.write_json({{"kernel", loaded.name}, {"off", Json::array()}});
    else session.terminal.data(fmt::format("{}: no choice\n", loaded.name));
    return ExitCode::ok;
  }

  const auto right = [&](DeviceCall& call) {
    call.reset();
    call();
    const bool ok = verify_outputs(loaded.program, arguments, call.outputs(), {}).report.ok;
    call.reset();
    return ok;
  };
  if (!right(as_it_is)) throw Failure(ExitCode::verification, "not measured, the result is wrong");
  const std::vector<std::string> passes = runtime::passes_to_choose(device);
  const double each = options.seconds / static_cast<double>(2 * passes.size() + 2);
  std::unique_ptr<DeviceCall> best;
  runtime::Choice kept;
  for (const std::string& pass : passes) {
    std::vector<std::string> off = kept.off;
    off.push_back(pass);
    auto without = std::make_unique<DeviceCall>(loaded, arguments, choice, options.threads, off);
    if (!right(*without)) throw Failure(ExitCode::verification, fmt::format("without {} the result is wrong", fmt::join(off, ", ")));
    DeviceCall& before = best ? *best : as_it_is;
    Pair pair = in_turns(before, *without, each);
    if (pair.second < kWorthIt * pair.first) pair = in_turns(before, *without, each);  // once more, to believe it
    const bool faster = pair.second < kWorthIt * pair.first;
    if (!session.json) session.terminal.message(fmt::format("  without {:<20} {:9.2f} us for {:9.2f} us{}\n", pass, pair.second * 1e6, pair.first * 1e6, faster ? ", taken" : ""));
    if (!faster) continue;
    kept.off = off;
    best = std::move(without);
  }
  if (best) {
    const Pair pair = in_turns(as_it_is, *best, 2 * each);
    kept.as_it_is = pair.first;
    kept.seconds = pair.second;
    if (pair.second >= kWorthIt * pair.first) kept = {};
  }
  std::string sizes;
  for (std::size_t s = 0; s < loaded.program.symbols.size(); ++s)
    if (arguments.bindings.symbols[s]) sizes += fmt::format("{}={} ", loaded.program.symbols[s].name, *arguments.bindings.symbols[s]);
  kept.measured = fmt::format("measured with {}on {:%Y-%m-%d}", sizes, fmt::localtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
  keep(kept);
  if (session.json)
    session.write_json({{"kernel", loaded.name}, {"off", kept.off}, {"seconds", kept.seconds}, {"as_it_is", kept.as_it_is}, {"measured", kept.measured}});
  else if (kept.off.empty()) session.terminal.data(fmt::format("{}: nothing is faster than as it is\n", loaded.name));
  else session.terminal.data(fmt::format("{}: from now on without {}: {:.2f} us for {:.2f} us\n", loaded.name, fmt::join(kept.off, ", "), kept.seconds * 1e6, kept.as_it_is * 1e6));
  return ExitCode::ok;
}

}  // namespace

void add_tune(CLI::App& app, Session& session) {
  auto options = std::make_shared<TuneOptions>();
  CLI::App* sub = app.add_subcommand("tune", "measure which optimising passes a kernel is faster without, and keep the choice");
  sub->footer(
      "quern tune rows.quern softmax x=random:[4096,1000]\n"
      "  quern tune attention.quern --set M=512 --set N=512 --set D=128 --on cuda --seconds 30\n"
      "  quern tune attention.quern --set M=512 --set N=512 --set D=128 --forget\n"
      "\n"
      "The choice is for dense arguments of any sizes, on this processor or GPU; `quern explain FILE --key` shows it. It stands in\n"
      "\"tuned\" below the cache folder, apart from compiled code: `quern cache clear` leaves it, programs follow it when they compile,\n"
      "and nothing is measured again unless this command is run. A choice may change the last bits of results. `quern bench` and\n"
      "`quern compile` take kernels as they are without.");
  options->kernel.add_to(*sub, true);
  sub->add_option("--threads", options->threads, "threads to use (default: all)")->check(CLI::Range(0, 4096));
  sub->add_option("--on", options->device, "cpu (default) or cuda");
  sub->add_option("--seconds", options->seconds, "time to spend on calls (default 10)")->check(CLI::Range(0.01, 3600.0));
  sub->add_flag("--forget", options->forget, "measure nothing, remove the choice");
  sub->add_flag("--json", session.json, "one JSON value on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
