// quern run: a kernel on arrays. In: a program, data as .npy files or made up. Out: the outputs, shown or written, and
// whether they are what the interpreter says.
#include <fmt/format.h>

#include <algorithm>

#include "tools/command/device_call.h"
#include "tools/command/preview.h"

namespace quern::command {
namespace {

struct RunOptions {
  KernelOptions kernel;
  std::string device;
  std::vector<std::string> out;
  std::vector<std::string> off;
  bool verify = false;
  std::uint64_t seed = 0;
  int threads = 0;
};

/// --out o=o.npy by output name; a bare path stands for the only output.
std::map<std::string, std::string> paths_of(const RunOptions& options, const std::vector<NamedArray>& outputs) {
  std::map<std::string, std::string> result;
  for (const std::string& text : options.out) {
    if (text.find('=') == std::string::npos && outputs.size() == 1) {
      result[outputs[0].name] = text;
      continue;
    }
    const Setting setting = parse_setting(text, "an output file");
    std::vector<std::string_view> names;
    for (const NamedArray& output : outputs) names.push_back(output.name);
    if (std::find(names.begin(), names.end(), setting.name) == names.end()) {
      const std::string_view meant = dsl::nearest(setting.name, names);
      throw Failure(ExitCode::usage, fmt::format("--out {}: there is no output '{}'; {}", text, setting.name,
                                                 meant.empty() ? fmt::format("there is {}", fmt::join(names, ", "))
                                                               : fmt::format("did you mean '{}'?", meant)));
    }
    result[setting.name] = setting.value;
  }
  return result;
}

ExitCode run(const Session& session, const RunOptions& options) {
  const LoadedKernel loaded = load_kernel(session, options.kernel);
  const Arguments arguments = make_arguments(loaded.program, loaded.request, {false, options.seed});
  DeviceCall call(loaded, arguments, device_named(options.device), options.threads, options.off);
  call();
  const std::vector<NamedArray> outputs = call.outputs();
  const std::map<std::string, std::string> paths = paths_of(options, outputs);

  std::optional<Verdict> verdict;
  if (options.verify) verdict = verify_outputs(loaded.program, arguments, outputs, {});
  for (const NamedArray& output : outputs) {
    const auto path = paths.find(output.name);
    if (path != paths.end()) npy::write(path->second, output.array);
  }

  if (session.json) {
    Json list = Json::array();
    for (const NamedArray& output : outputs) {
      Json entry{{"name", output.name}, {"type", name(output.array.type)}, {"shape", output.array.shape}};
      entry["first"] = first_values(output.array, 8);
      if (paths.count(output.name) != 0) entry["file"] = paths.at(output.name);
      list.push_back(std::move(entry));
    }
    Json result{{"kernel", loaded.name}, {"device", name_of(call.device())}, {"outputs", std::move(list)}};
    if (verdict) result["verification"] = verdict->json(loaded.program);
    session.write_json(result);
  } else {
    for (const NamedArray& output : outputs) {
      const std::string title = fmt::format("{}: {}", output.name, type_and_shape(output.array.type, output.array.shape));
      if (paths.count(output.name) != 0) {
        session.terminal.message(fmt::format("{} -> {}\n", title, paths.at(output.name)));
      } else {
        session.terminal.data(session.terminal.heading(title) + "\n" + preview(output.array));
      }
    }
  }
  if (verdict && !verdict->report.ok) {
    session.terminal.error(fmt::format("verification failed: {}", verdict->message(loaded.program)));
    return ExitCode::verification;
  }
  if (verdict && !session.json) session.terminal.message(verdict->message(loaded.program) + "\n");
  return ExitCode::ok;
}

}  // namespace

void add_run(CLI::App& app, Session& session) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* sub = app.add_subcommand("run", "run a kernel on arrays");
  sub->footer(
      "quern run attention.quern q=q.npy k=k.npy v=v.npy --out o=o.npy\n"
      "  quern run attention.quern q=random:[128,64] k=random:[256,64] v=random:[256,64] --verify\n"
      "  quern run attention.quern q=random k=random v=random --set M=128 --set N=256 --set D=64 --json\n"
      "  quern run norms.quern layer_norm x=iota:[4,8] eps=1e-5 --on interpreter\n"
      "  quern run attention.quern q=random:[128,64] k=random:[256,64] v=random:[256,64] --on cuda --verify\n"
      "\n"
      "Data behind name=:\n"
      "  FILE.npy              f16, bf16, e4m3 and e5m2 parameters also take float32 files, rounded\n"
      "  random:[2,3]          normal numbers; integers within their declared range; random:[2,3]:7 has the seed 7\n"
      "  zeros:[2,3] iota:[2,3]\n"
      "  random zeros iota     the shape follows from the other arguments and --set\n"
      "  0.125  12  true       numbers, for scalar parameters\n"
      "Outputs that --out does not name are shown. bf16, e4m3 and e5m2 outputs are written as float32.");
  options->kernel.add_to(*sub, true);
  sub->add_option("--on", options->device, "interpreter, cpu or cuda (default: cpu where this build has it)");
  sub->add_option("--out", options->out, "write this output")->allow_extra_args(false)->type_name("NAME=FILE.npy");
  sub->add_flag("--verify", options->verify, "compare with the interpreter in f64; exit status 3 if outside the error bound");
  sub->add_option("--seed", options->seed, "seed of random data (default 0)");
  sub->add_option("--threads", options->threads, "threads to use (default: all)")->check(CLI::Range(0, 4096));
  sub->add_option("--off", options->off, "switch an optimising pass off")->allow_extra_args(false)->type_name("PASS");
  sub->add_flag("--json", session.json, "one JSON value on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
