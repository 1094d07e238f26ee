// quern bench: how fast a kernel is. In: a program and sizes. Out: time per call, speed, and its share of this machine's
// peak, measured in the same run. The one idea: no speed is printed for a result that was not found right first.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include <quern/gpu.h>

#ifdef QUERN_CUDA
#include "runtime/cuda/timing.h"
#endif
#include "tools/command/device_call.h"
#include "tools/command/preview.h"
#include "tools/command/timing.h"
#include "tools/command/work.h"

namespace quern::command {
namespace {

struct BenchOptions {
  KernelOptions kernel;
  int threads = 1;
  double seconds = 1;
  std::uint64_t seed = 0;
  std::string device;
  std::vector<std::string> off;
};

/// What a call costs beside its kernel: one element copied, everything warm.
double call_overhead() {
  Kernel probe("kernel probe(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] }", {}, Options().with_threads(1));
  const Tensor x = Tensor::zeros(f32, {1}), y = Tensor::zeros(f32, {1});
  const Argument arguments[] = {Argument(x), out(y)};
  probe.prepare_for(arguments);
  return time_calls([&] { (void)probe.try_launch(arguments); }, 0.05).median;
}

std::string duration(double seconds) {
  if (seconds < 1e-6) return fmt::format("{:.1f} ns", seconds * 1e9);
  if (seconds < 1e-3) return fmt::format("{:.2f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3f} ms", seconds * 1e3);
  return fmt::format("{:.3f} s", seconds);
}

std::string sizes_of(const LoadedKernel& loaded, const Arguments& arguments) {
  std::string sizes;
  for (std::size_t s = 0; s < loaded.program.symbols.size(); ++s) {
    if (arguments.bindings.symbols[s]) sizes += fmt::format("{}{}={}", sizes.empty() ? "" : " ", loaded.program.symbols[s].name, *arguments.bindings.symbols[s]);
  }
  return sizes;
}

#ifdef QUERN_CUDA
/// Seconds of this processor that queueing a launch takes, while the GPU has a queue to work on.
double queueing_seconds(DeviceCall& call) {
  std::vector<double> samples;
  for (int i = 0; i < 5; ++i) {
    call();
    const double start = now();
    for (int j = 0; j < 100; ++j) call.queue();
    samples.push_back((now() - start) / 100);
  }
  call();
  return *std::min_element(samples.begin(), samples.end());
}

ExitCode report_gpu(const Session& session, const LoadedKernel& loaded, const Arguments& arguments, double seconds, DeviceCall& call, const Verdict& verdict) {
  call.reset();
  std::vector<double> times;
  long calls = 0;
  double queueing = 0;
  try {
    runtime::gpu::GpuTiming timing = runtime::gpu::time_on_gpu(0, nullptr, seconds, [&] { call.queue(); });
    times = std::move(timing.seconds);
    calls = timing.calls;
    queueing = queueing_seconds(call);
  } catch (const Error& error) {
    fail_with(error);
  }
  const Work work = count_work(loaded.program, arguments.bindings);
  const double median = times[times.size() / 2], best = times.front();
  const double tflops = work.flops() / median * 1e-12, gbytes = work.bytes() / median * 1e-9;
  const std::string sizes = sizes_of(loaded, arguments), gpu = cuda_status().gpus.front().name;
  if (session.json) {
    session.write_json({{"context", {{"executable", "quern"}, {"library_version", version()}, {"gpu", gpu}}},
                        {"benchmarks",
                         {{{"name", fmt::format("{}/{}/cuda", loaded.name, sizes)},
                           {"run_type", "iteration"},
                           {"iterations", calls},
                           {"real_time", median * 1e9},
                           {"cpu_time", queueing * 1e9},
                           {"time_unit", "ns"},
                           {"best_time", best * 1e9},
                           {"gflops", tflops * 1e3},
                           {"gbytes_per_second", gbytes},
                           {"flops", work.flops()},
                           {"bytes", work.bytes()},
                           {"compile_ms", call.compile_seconds() * 1e3},
                           {"verification", verdict.json(loaded.program)}}}}});
    return ExitCode::ok;
  }
  const auto line = [&](std::string_view what, const std::string& text) { session.terminal.data(fmt::format("  {:<9} {}\n", what, text)); };
  session.terminal.data(session.terminal.heading(fmt::format("{} {} on {}", loaded.name, sizes, gpu)) + "\n");
  std::string verified = verdict.message(loaded.program);
  verified.erase(0, verified.find(' ') + 1);
  line("verified", verified);
  line("compile", fmt::format("{} from text to a loaded kernel, cold", duration(call.compile_seconds())));
  line("call", fmt::format("median {}, best {} ({} calls) by the GPU's clock; {} of this processor to queue one", duration(median), duration(best), calls, duration(queueing)));
  line("speed", fmt::format("{:.2f} TFLOP/s", tflops));
  line("memory", fmt::format("{:.1f} GB/s of inputs and outputs ({:.3g} MB)", gbytes, work.bytes() * 1e-6));
  return ExitCode::ok;
}
#else
ExitCode report_gpu(const Session&, const LoadedKernel&, const Arguments&, double, DeviceCall&, const Verdict&) { return ExitCode::unavailable; }
#endif

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

ExitCode run(const Session& session, const BenchOptions& options) {
  set_cache({CacheMode::off, "", 0, false});  // what is timed is compiled here
  const LoadedKernel loaded = load_kernel(session, options.kernel);
  const Arguments arguments = make_arguments(loaded.program, loaded.request, {true, options.seed});
  DeviceCall call(loaded, arguments, device_named(options.device), options.threads, options.off);
  if (call.device() == Device::interpreter) {
    throw Failure(ExitCode::unavailable, "this build has no compiled kernels (QUERN_LLVM=OFF); there is nothing to measure but --on cuda");
  }
  call();
  const Verdict verdict = verify_outputs(loaded.program, arguments, call.outputs(), {});
  if (!verdict.report.ok) {
    session.terminal.error(fmt::format("not measured, the result is wrong: {}", verdict.message(loaded.program)));
    return ExitCode::verification;
  }

  if (call.device() == Device::cuda) return report_gpu(session, loaded, arguments, options.seconds, call, verdict);
  const int threads = options.threads == 0 ? usable_threads() : options.threads;
  const Work work = count_work(loaded.program, arguments.bindings);
  // Kernel and peak in turn: the clock moves, and so does what neighbours on the machine leave of it.
  constexpr int kTurns = 7;
  call.reset();
  Timing timing{0, std::numeric_limits<double>::infinity(), 0};
  Peak peak;
  std::vector<double> medians, shares;
  for (int turn = 0; turn < kTurns; ++turn) {
    const Peak now = measure_peak(work.double_precision, threads);
    const Timing part = time_calls(call, options.seconds / kTurns);
    if (now.gflops > peak.gflops) peak = now;
    medians.push_back(part.median);
    shares.push_back(work.flops() / part.median * 1e-9 / now.gflops);
    timing.best = std::min(timing.best, part.best);
    timing.calls += part.calls;
  }
  timing.median = middle(medians);
  const double share = middle(shares), overhead = call_overhead();
  const double gflops = work.flops() / timing.median * 1e-9, best_gflops = work.flops() / timing.best * 1e-9;
  const double gbytes = work.bytes() / timing.median * 1e-9;

  const std::string sizes = sizes_of(loaded, arguments);
  if (session.json) {
    // The layout of Google Benchmark, whose compare.py then reads it.
    session.write_json({{"context",
                         {{"executable", "quern"},
                          {"num_cpus", usable_threads()},
                          {"library_version", version()},
                          {"peak_gflops", peak.gflops},
                          {"peak_instructions", peak.instructions}}},
                        {"benchmarks",
                         {{{"name", fmt::format("{}/{}/threads:{}", loaded.name, sizes, threads)},
                           {"run_type", "iteration"},
                           {"iterations", timing.calls},
                           {"real_time", timing.median * 1e9},
                           {"cpu_time", timing.median * 1e9},
                           {"time_unit", "ns"},
                           {"threads", threads},
                           {"best_time", timing.best * 1e9},
                           {"gflops", gflops},
                           {"share_of_peak", share},
                           {"best_share_of_peak", best_gflops / peak.gflops},
                           {"gbytes_per_second", gbytes},
                           {"flops", work.flops()},
                           {"all_operations", work.operations},
                           {"bytes", work.bytes()},
                           {"compile_ms", call.compile_seconds() * 1e3},
                           {"call_overhead_ns", overhead * 1e9},
                           {"verification", verdict.json(loaded.program)}}}}});
    return ExitCode::ok;
  }
  const auto line = [&](std::string_view what, const std::string& text) {
    session.terminal.data(fmt::format("  {:<9} {}\n", what, text));
  };
  session.terminal.data(session.terminal.heading(fmt::format("{} {}, {} thread{}", loaded.name, sizes, threads, threads == 1 ? "" : "s")) + "\n");
  std::string verified = verdict.message(loaded.program);
  verified.erase(0, verified.find(' ') + 1);
  line("verified", verified);
  line("compile", fmt::format("{} from text to a ready kernel, cold", duration(call.compile_seconds())));
  line("call", fmt::format("median {}, best {} ({} calls); about {} of it beside the kernel", duration(timing.median),
                           duration(timing.best), timing.calls, duration(overhead)));
  line("speed", fmt::format("{:.1f} GFLOP/s, {:.1f} % of peak ({:.1f} GFLOP/s {}); best {:.1f} %", gflops,
                            100 * share, peak.gflops, peak.instructions, 100 * best_gflops / peak.gflops));
  line("memory", fmt::format("{:.1f} GB/s of inputs and outputs ({:.3g} MB)", gbytes, work.bytes() * 1e-6));
  return ExitCode::ok;
}

}  // namespace

void add_bench(CLI::App& app, Session& session) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* sub = app.add_subcommand("bench", "measure a kernel, after verifying it");
  sub->footer(
      "quern bench attention.quern --set M=512 --set N=512 --set D=128\n"
      "  quern bench attention.quern q=random:[512,128] k=random:[512,128] --threads 2\n"
      "  quern bench einsum.quern matrix_product --set I=1024 --set J=1024 --set K=1024 --json\n"
      "  quern bench attention.quern --set M=4096 --set N=4096 --set D=128 --on cuda\n"
      "\n"
      "Parameters that are not given are random. GFLOP/s counts two for each multiply-add of a sum of products (all float\n"
      "operations where there is none), masked-out points not at all; the peak is a loop of multiply-adds measured in\n"
      "turn with the kernel, on the same threads. The result is verified first: whole when small, otherwise sampled.");
  options->kernel.add_to(*sub, true);
  sub->add_option("--threads", options->threads, "threads to use (default 1; 0: all)")->check(CLI::Range(0, 4096));
  sub->add_option("--on", options->device, "cpu (default) or cuda; a GPU is timed by its own clock, data in its memory");
  sub->add_option("--seconds", options->seconds, "time to spend on calls (default 1)")->check(CLI::Range(0.001, 3600.0));
  sub->add_option("--seed", options->seed, "seed of random data (default 0)");
  sub->add_option("--off", options->off, "switch an optimising pass off")->allow_extra_args(false)->type_name("PASS");
  sub->add_flag("--json", session.json, "Google Benchmark's JSON on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
