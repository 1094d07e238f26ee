// Seeds to programs, and the record of a run.
#include "tools/fuzz/fuzz.h"

#include <algorithm>

#include <fmt/format.h>

#include "compiler/passes/pipeline.h"
#include "tools/fuzz/apart.h"
#include "tools/fuzz/generate.h"
#include "tools/fuzz/shrink.h"

namespace quern::fuzz {

std::string program_of(std::uint64_t seed) {
  GenerateOptions options;
  options.exact = seed % 8 == 7;
  options.large = seed % 32 == 3;
  return generate(seed, options);
}

JudgeOptions judge_options_of(std::uint64_t seed, Device device, const std::string& mutant) {
  JudgeOptions options;
  options.device = device;
  options.data_seed = seed;
  options.threads = seed % 3 == 0 ? 2 : 1;
  // One pass off, every pass off, else the whole pipeline.
  std::vector<std::string> names;
  for (const compiler::Pass& pass : compiler::passes())
    if (!pass.required && std::find(names.begin(), names.end(), pass.name) == names.end()) names.emplace_back(pass.name);
  if (seed % 8 == 5 && !names.empty()) options.without = {names[static_cast<std::size_t>(seed / 8 % names.size())]};
  if (seed % 16 == 9) options.without = names;
  if (!mutant.empty()) options.without.push_back("mutant:" + mutant);
  return options;
}

FuzzReport run_fuzz(const FuzzOptions& options, const std::function<void(int, const Failure*)>& progress) {
  FuzzReport report;
  const auto how_to_judge = [&](std::uint64_t seed) {
    JudgeOptions how = judge_options_of(seed, options.device, options.mutant);
    how.compile = options.compile;
    return how;
  };
  int done = 0;
  const auto record = [&](std::uint64_t seed, const Verdict& v) {
    ++done;
    const std::string program = program_of(seed);
    report.coverage.add(program);
    report.checked += v.checked;
    report.undecided += v.undecided;
    report.max_ratio = std::max(report.max_ratio, v.max_ratio);
    if (v.outcome == Outcome::agree) ++report.agreed;
    if (v.outcome == Outcome::refused) ++report.refused;
    if (v.outcome == Outcome::agree || v.outcome == Outcome::refused) {
      if (progress) progress(done, nullptr);
      return;
    }
    Failure f;
    f.seed = seed;
    f.device = options.device;
    f.verdict = v;
    f.program = program;
    if (options.shrink) {
      const JudgeOptions how = how_to_judge(seed);
      // An edit may break a program in a way of its own, which is another fault than a printed form that changes.
      const bool by_message = v.outcome == Outcome::invalid;
      const std::string kind = v.message.substr(0, v.message.find('\n'));
      const auto fails_alike = [&](const std::string& smaller) {
        const Verdict now = judge_apart(smaller, how, options.seconds_per_program);
        return now.outcome == v.outcome && (!by_message || now.message.compare(0, kind.size(), kind) == 0);
      };
      f.program = shrink(program, fails_alike, v.outcome == Outcome::hang ? 12 : options.device == Device::cuda || options.compile ? 60 : 300);  // each starts a GPU anew
      if (f.program != program) f.verdict = judge_apart(f.program, how, options.seconds_per_program);
    }
    report.failures.push_back(std::move(f));
    if (progress) progress(done, &report.failures.back());
  };
  judge_each(options.count, options.seconds_per_program,
             [&](int item) {
               const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(item);
               return judge_all(program_of(seed), how_to_judge(seed));
             },
             [&](int item, const Verdict& v) {
               record(options.seed + static_cast<std::uint64_t>(item), v);
               return static_cast<int>(report.failures.size()) < options.most_failures;
             });
  return report;
}

}  // namespace quern::fuzz
