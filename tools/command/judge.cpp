// quern judge: every case that stands in program files (`#: N=8 W=3` above a kernel) on a device against the interpreter. In:
// files. Out: how many agreed, and what did not. Each case runs in a worker process, so that none can end the run.
#include <fmt/format.h>

#include <cstdio>

#include "tools/command/device_call.h"
#include "tools/command/session.h"
#include "tools/fuzz/apart.h"
#include "tools/fuzz/device.h"
#include "tools/fuzz/variants.h"

namespace quern::command {
namespace {

struct JudgeCommandOptions {
  std::vector<std::string> files;
  std::string device = "cpu";
  std::string shard = "0/1";
  std::string kernel;
  bool variants = false, slow = false, list = false, inside = false, cache = false;
  int seconds = 120;
};

struct Item {
  std::string file, text, what;
  fuzz::Case which;
};

std::vector<Item> items_of(const JudgeCommandOptions& options) {
  std::vector<Item> items;
  for (const std::string& path : options.files) {
    const std::string text = read_text(path);
    std::string last;
    for (const fuzz::Case& which : fuzz::cases_of(text)) {
      if ((which.slow && !options.slow) || (!options.kernel.empty() && which.kernel != options.kernel)) continue;
      items.push_back({path, text, "", which});
      if (options.variants && !which.slow) {
        if (const auto grown = fuzz::with_sizes(text, which, 1, false)) items.push_back({path, text, ", sizes + 1", *grown});
        if (const auto grown = fuzz::with_sizes(text, which, 29, true)) items.push_back({path, text, ", largest size + 29", *grown});
        if (which.kernel != last)
          for (const char* layout : {"transposed", "reversed", "strided", "offset", "padded", "broadcast"})
            items.push_back({path, text, fmt::format(", {}", layout), fuzz::with_layout(text, which, layout)});
      }
      last = which.kernel;
    }
  }
  int shard = 0, shards = 1;
  if (std::sscanf(options.shard.c_str(), "%d/%d", &shard, &shards) != 2 || shards < 1 || shard < 0 || shard >= shards)
    throw Failure(ExitCode::usage, fmt::format("--shard {}: write 0/4, 1/4, 2/4 or 3/4", options.shard));
  std::vector<Item> mine;
  for (std::size_t i = 0; i < items.size(); ++i)
    if (static_cast<int>(i % static_cast<std::size_t>(shards)) == shard) mine.push_back(std::move(items[i]));
  return mine;
}

ExitCode run(const Session& session, const JudgeCommandOptions& options) {
  if (!options.cache) set_cache({CacheMode::off, "", 0, false});  // programs that nobody will run again
  fuzz::JudgeOptions how;
  const DeviceChoice choice = device_named(options.device);
  how.device = choice.device;
  how.target = choice.target;
  if (!options.list && how.device != Device::interpreter && !fuzz::has_device(how.device))
    throw Failure(ExitCode::unavailable, fmt::format("this build has no device '{}'; --on interpreter", options.device));
  const std::vector<Item> items = items_of(options);
  if (options.list) {
    for (const Item& item : items) session.terminal.data(fmt::format("{}: {}{}: {}\n", item.file, item.which.kernel, item.what, item.which.text()));
    return ExitCode::ok;
  }
  int agreed = 0, refused = 0;
  double ratio = 0;
  Json failures = Json::array();
  const auto judge = [&](int i) { return fuzz::judge(items[static_cast<std::size_t>(i)].text, items[static_cast<std::size_t>(i)].which, how); };
  const auto record = [&](int i, const fuzz::Verdict& v) {
    const Item& item = items[static_cast<std::size_t>(i)];
    ratio = std::max(ratio, v.max_ratio);
    if (v.outcome == fuzz::Outcome::agree) ++agreed;
    else if (v.outcome == fuzz::Outcome::refused) ++refused;
    else {
      const std::string where = fmt::format("{}: {}{}: {}", item.file, item.which.kernel, item.what, item.which.text());
      failures.push_back({{"case", where}, {"outcome", fuzz::name(v.outcome)}, {"message", v.message}});
      if (!session.json) session.terminal.data(fmt::format("{} {}\n  {}\n", fuzz::name(v.outcome), where, v.message));
    }
    return true;
  };
  if (!options.inside) {
    fuzz::judge_each(static_cast<int>(items.size()), options.seconds, judge, record);
  } else {
    for (int i = 0; i < static_cast<int>(items.size()); ++i) record(i, judge(i));
  }
  if (session.json) {
    session.write_json({{"device", options.device}, {"cases", items.size()}, {"agreed", agreed}, {"refused", refused}, {"max_error_over_bound", ratio}, {"failures", failures}});
  } else {
    session.terminal.data(fmt::format("{} cases on {}: {} agree, {} refused, {} failed; largest error {:.2g} of its bound\n", items.size(), options.device, agreed, refused,
                                      failures.size(), ratio));
  }
  return failures.empty() ? ExitCode::ok : ExitCode::verification;
}

}  // namespace

void add_judge(CLI::App& app, Session& session) {
  auto options = std::make_shared<JudgeCommandOptions>();
  CLI::App* sub = app.add_subcommand("judge", "run the cases that stand in program files, checked against the interpreter");
  sub->footer(
      "quern judge examples/*.quern --on cuda\n"
      "  quern judge examples/attention.quern --on cuda --variants   other sizes and layouts of each case too\n"
      "  quern judge examples/*.quern --list --shard 0/4             what one of four runs would do\n"
      "\n"
      "A case is a line `#: N=8 D=16 q=wide/strided` above a kernel. Each runs twice over outputs filled with different\n"
      "patterns, in a process of its own where one crashes.");
  sub->add_option("FILE", options->files, "program files")->required();
  sub->add_option("--on", options->device, "cpu (default), cuda or interpreter");
  sub->add_flag("--variants", options->variants, "each case also with larger sizes, each kernel with strided, reversed, ... inputs");
  sub->add_flag("--slow", options->slow, "cases marked slow too");
  sub->add_option("--shard", options->shard, "every N-th case, from the I-th on")->type_name("I/N");
  sub->add_option("--seconds", options->seconds, "for one case (default 120)");
  sub->add_option("--kernel", options->kernel, "cases of this kernel alone");
  sub->add_flag("--inside", options->inside, "in this process, for tools that watch one; a crash ends the run");
  sub->add_flag("--cache", options->cache, "with the cache on disk: a second run judges what the first one stored");
  sub->add_flag("--list", options->list, "print the cases");
  sub->add_flag("--json", session.json, "one JSON value on stdout");
  sub->callback([&session, options] { session.action = [&session, options] { return run(session, *options); }; });
}

}  // namespace quern::command
